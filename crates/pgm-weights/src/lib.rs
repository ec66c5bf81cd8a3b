//! Weights of the networks of [`pgm_model`] in files: the authors' checkpoints, and this crate's own.
//!
//! [`WeightsFile`] opens any of them, says which network they belong to and loads it; [`save`]
//! writes one, [`WeightsExport`] also in half precision and with notes. Nothing stored in a file is executed.
//!
//! | format | tensors are named | read | written |
//! | --- | --- | --- | --- |
//! | PyTorch checkpoint (`.ckpt`, `.pt`) | as published | raw or averaged weights | no |
//! | safetensors | as published, or as here | yes | yes |
//! | safetensors in several files, by their index ([`ShardIndex`]) | the same | yes | no |
//! | GGUF (`.gguf`) of a Llama | as published | yes | no |
//! | burnpack (`.bpk`) | as here | yes | yes |
//!
//! Files written here carry the sizes of their network; those of others show all of them in their
//! tensors but the number of heads and the kind of pre-query
//! ([`WeightsFile::config`]). Networks of other libraries, such as the judges of `pgm-judges`, are loaded by
//! [`ForeignNames`].
//!
//! ```
//! use burn::tensor::Device;
//! use pgm_model::{DitConfig, LanguageModelConfig};
//! use pgm_weights::{WeightsChoice, WeightsFile, WeightsFormat, save};
//!
//! let device = Device::flex();
//! let config = LanguageModelConfig::Masked(DitConfig {
//!     vocab_size: 11,
//!     d_model: 16,
//!     n_heads: 2,
//!     n_blocks: 1,
//!     ..Default::default()
//! });
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("model.safetensors");
//! save(&config.init(&device), &config, WeightsFormat::Safetensors, &path)?;
//!
//! let file = WeightsFile::open(&path, WeightsChoice::Average)?;
//! assert_eq!(file.config(None)?, config);
//! let model = file.load(None, &device)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod architecture;
mod error;
mod export;
mod file_kind;
mod file_tensor;
mod foreign_names;
mod gguf;
mod parameters;
mod published_models;
mod published_names;
mod pytorch;
mod read_error;
mod safetensors_file;
mod shard_index;
mod stored_dtype;
mod weights_choice;
mod weights_file;
mod wrapper_prefix;

pub use architecture::ArchitectureError;
pub use error::{Mismatch, WeightsError};
pub use export::{WeightsExport, WeightsFormat, save};
pub use file_kind::other_text;
pub use file_tensor::UnreadableTensor;
pub use foreign_names::ForeignNames;
pub use gguf::{GgufFile, GgufValue};
pub use published_models::published_model;
pub use read_error::ReadError;
pub use shard_index::ShardIndex;
pub use stored_dtype::StoredDtype;
pub use weights_choice::{WeightsChoice, WeightsSource};
pub use weights_file::WeightsFile;
