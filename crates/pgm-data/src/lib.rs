//! From text files to batches of tokens for language models: tokenizers, memory-mapped token shards, packing
//! and shuffling.
//!
//! - [`Tokenizer`] turns text into ids: GPT-2's own, a byte-level BPE learned from a text, or any
//!   `tokenizer.json`. [`TokenizerSpec`] names one in a configuration. [`SpecialTokens`] are those that stand for no text,
//!   and [`TextLoss`] counts what a tokenizer does not keep of a text.
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
//!     BadLines, DocumentSplit, Packing, PrepareConfig, ShuffledBatches, SpecialTokenChoice, TokenBatch,
//!     ValidationSplit, prepare,
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
//!     bad_lines: BadLines::Refuse,
//!     special_tokens: SpecialTokenChoice::default(),
//!     allow_lossy_tokenizer: false,
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
//! Names may end in capitals.
//!
//! | file | content |
//! | --- | --- |
//! | `*.txt` (read) | UTF-8 text, with or without a byte order mark; see [`DocumentSplit`] |
//! | `*.jsonl` (read) | one JSON object a line, each a document, as the standard or as Python has it; its text is the field [`PrepareConfig::text_field`] |
//! | `*.txt.gz`, `*.jsonl.gz`, `*.txt.zst`, `*.jsonl.zst` (read) | the same, compressed; members and frames are joined, windows of `zstd --long` read |
//! | `tokenizer.json` (read, written) | the format of Hugging Face's `tokenizers` |
//! | `tokenizer_config.json`, `special_tokens_map.json`, `config.json`, `generation_config.json` (read) | beside it, as models come with them: which tokens begin and end a text |
//! | `train.tok`, `validation.tok` (read, written) | [`TokenShard`]: a header of 128 bytes (`PGMSHARD`, format version, bytes a token, vocabulary size, tokens, documents, the tokenizer's fingerprint, SHA-256), the tokens with 2 bytes each (4 above 65536 ids), the end of each document with 8 bytes; all little-endian |
//! | `manifest.json` (read, written) | [`Manifest`]: sources with sizes and hashes, settings, special tokens, counts; its presence says that a folder is complete |
//!
//! Files are written under a temporary name and renamed, so that nothing half-written carries a real name.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batches;
mod error;
mod files;
mod preparation;
mod shard;
mod text;
mod tokenizer;

pub use batches::{
    BatchPrefetcher, PackedDataset, Packing, PackingConfig, PaddedDataset, ShuffledBatches,
    TokenBatch, TokenDataset, TokenSequence,
};
pub use error::DataError;
pub use files::{
    FileLock, LockAttempt, LockHolder, append_line, n_bytes_of_whole_lines, sha256_hex,
    sha256_of_file, sha256_of_reader, write_file,
};
pub use preparation::{
    Manifest, PrepareConfig, PrepareProgress, PreparedData, ShardRecord, SourceRecord,
    ValidationSplit, prepare,
};
pub use shard::{ShardWriter, TokenShard};
pub use text::{
    BadLines, Corpus, Detokenizer, DocumentSplit, FileContent, PythonJson, from_python_json,
    read_json_text, read_text,
};
pub use tokenizer::{
    BpeTables, DeclaredToken, SpecialToken, SpecialTokenChoice, SpecialTokens, TextCoverage,
    TextLoss, TokenName, TokenRole, TokenSource, Tokenizer, TokenizerSpec, WordSplit,
};
