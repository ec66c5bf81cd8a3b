//! From text files to a folder of shards.

mod manifest;
mod prepare;
mod prepare_lock;
mod prepared_data;
mod training_text;
mod validation_split;

pub use manifest::{Manifest, ShardRecord, SourceRecord};
pub use prepare::{PrepareConfig, PrepareProgress, prepare};
pub use prepared_data::PreparedData;
pub use validation_split::ValidationSplit;
