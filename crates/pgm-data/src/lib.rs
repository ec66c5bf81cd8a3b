//! From text files to batches of tokens for language models: tokenizers, memory-mapped token shards, packing
//! and shuffling.
//!
//! - [`Tokenizer`] turns text into ids: GPT-2's own, a byte-level BPE learned from a text, or any
//!   `tokenizer.json`. [`TokenizerSpec`] names one in a configuration.
//! - [`prepare`] reads text files once and writes [`TokenShard`]s for training and validation; a second call
//!   with the same text opens what is there. [`PreparedData`] is such a folder.
//! - [`Packing`] makes rows of one length of a shard (a `burn_dataset::Dataset`), documents one behind the other or
//!   one a row, [`ShuffledBatches`] says which rows a training step sees, [`TokenBatch`] collects them, and
//!   [`BatchPrefetcher`] does so ahead of time in threads of its own.
//!
//! Nothing here prints, needs a device or opens the network; warnings go through `tracing`.
//!
//! # Example
//!
//! ```
//! use burn_dataset::Dataset;
//! use pgm_data::{
//!     DocumentSplit, Packing, PrepareConfig, ShuffledBatches, TokenBatch, ValidationSplit, prepare,
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let (text, output) = (folder.path().join("text.txt"), folder.path().join("prepared"));
//! std::fs::write(&text, "Call me Ishmael.\n\nSome years ago, I thought I would sail about.\n\n".repeat(50))?;
//! let config = PrepareConfig {
//!     inputs: vec![text],
//!     tokenizer: "bpe-300".parse()?,
//!     validation: ValidationSplit::Fraction(0.1),
//!     split: DocumentSplit::File,
//!     text_field: "text".to_owned(),
//!     output,
//! };
//! let data = prepare(&config, &mut |_progress| {})?;
//!
//! let rows = Packing::Concatenated.rows(data.train().clone(), 32, data.tokenizer())?;
//! let batches = ShuffledBatches::new(rows.len(), 4, 42)?;
//! let batch = TokenBatch::collect(&rows, &batches.indices(0))?;
//! assert_eq!((batch.batch_size, batch.seq_len), (4, 32));
//! assert_eq!(batch.tokens[0], data.tokenizer().bos_id());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//!
//! | file | content |
//! | --- | --- |
//! | `*.txt` (read) | UTF-8 text, with or without a byte order mark; see [`DocumentSplit`] |
//! | `*.jsonl` (read) | one JSON object a line, each a document; its text is the field [`PrepareConfig::text_field`] |
//! | `*.txt.gz`, `*.jsonl.gz`, `*.txt.zst`, `*.jsonl.zst` (read) | the same, compressed; members and frames are joined |
//! | `tokenizer.json` (read, written) | the format of Hugging Face's `tokenizers` |
//! | `train.tok`, `validation.tok` (read, written) | [`TokenShard`]: a header of 128 bytes (`PGMSHARD`, format version, bytes a token, vocabulary size, tokens, documents, the tokenizer's fingerprint, SHA-256), the tokens with 2 bytes each (4 above 65536 ids), the end of each document with 8 bytes; all little-endian |
//! | `manifest.json` (read, written) | [`Manifest`]: sources with sizes and hashes, settings, counts; its presence says that a folder is complete |
//!
//! Files are written under a temporary name and renamed, so that nothing half-written carries a real name.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod atomic_file;
mod batch_prefetcher;
mod bpe_tables;
mod bpe_training;
mod byte_level;
mod checksum;
mod corpus;
mod detokenizer;
mod document_split;
mod documents;
mod error;
mod gpt2_bpe;
mod json_lines;
mod manifest;
mod packed_dataset;
mod packing;
mod padded_dataset;
mod prepare;
mod prepare_lock;
mod prepared_data;
mod shard_header;
mod shard_writer;
mod shuffled_batches;
mod special_tokens;
mod text_coverage;
mod text_format;
mod text_pieces;
mod text_reader;
mod token_batch;
mod token_shard;
mod tokenizer;
mod tokenizer_spec;
mod training_text;
mod validation_split;
mod word_cache;
mod zstd_reader;

pub use atomic_file::write_file;
pub use batch_prefetcher::BatchPrefetcher;
pub use bpe_tables::{BpeTables, WordSplit};
pub use checksum::sha256_of_file;
pub use corpus::Corpus;
pub use detokenizer::Detokenizer;
pub use document_split::DocumentSplit;
pub use error::DataError;
pub use manifest::{Manifest, ShardRecord, SourceRecord};
pub use packed_dataset::{PackedDataset, TokenSequence};
pub use packing::{Packing, PackingConfig, TokenDataset};
pub use padded_dataset::PaddedDataset;
pub use prepare::{PrepareConfig, PrepareProgress, prepare};
pub use prepared_data::PreparedData;
pub use shard_writer::ShardWriter;
pub use shuffled_batches::ShuffledBatches;
pub use text_coverage::TextCoverage;
pub use token_batch::TokenBatch;
pub use token_shard::TokenShard;
pub use tokenizer::Tokenizer;
pub use tokenizer_spec::TokenizerSpec;
pub use validation_split::ValidationSplit;
