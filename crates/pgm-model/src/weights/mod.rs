//! Weights in files: the authors' checkpoints, and this crate's own.
//!
//! [`WeightsFile`] opens any of them, says which network they belong to and loads it; [`save`]
//! writes one, [`WeightsExport`] also in half precision and with notes. Nothing stored in a file is executed.
//!
//! | format | tensors are named | read | written |
//! | --- | --- | --- | --- |
//! | PyTorch checkpoint (`.ckpt`, `.pt`) | as published | raw or averaged weights | no |
//! | safetensors | as published, or as here | yes | yes |
//! | safetensors in several files, by their index ([`ShardIndex`]) | the same | yes | no |
//! | GGUF (`.gguf`) of a [`Llama`](crate::judges::Llama) | as published | yes | no |
//! | burnpack (`.bpk`) | as here | yes | yes |
//!
//! Files written here carry the sizes of their network; those of others show all of them in their
//! tensors but the number of heads and the kind of pre-query
//! ([`WeightsFile::config`]).

mod architecture;
mod error;
mod export;
pub(crate) mod file_kind;
mod file_tensor;
mod gguf;
mod published_models;
mod published_names;
mod pytorch;
mod safetensors_file;
mod shard_index;
mod stored_dtype;
mod weights_file;
mod wrapper_prefix;

pub use error::{Mismatch, WeightsError};
pub use export::{WeightsExport, WeightsFormat, save};
pub use gguf::{GgufFile, GgufValue};
pub use published_models::published_model;
pub use shard_index::ShardIndex;
pub use stored_dtype::StoredDtype;
pub use weights_file::{WeightsChoice, WeightsFile, WeightsSource};
