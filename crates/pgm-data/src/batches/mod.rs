//! Rows of one length, and the batches made of them.

mod batch_prefetcher;
mod packed_dataset;
mod packing;
mod padded_dataset;
mod shuffled_batches;
mod token_batch;

pub use batch_prefetcher::BatchPrefetcher;
pub use packed_dataset::{PackedDataset, TokenSequence};
pub use packing::{Packing, PackingConfig, TokenDataset};
pub use padded_dataset::PaddedDataset;
pub use shuffled_batches::ShuffledBatches;
pub use token_batch::TokenBatch;
