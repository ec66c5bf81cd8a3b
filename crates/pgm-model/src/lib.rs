//! The partition transformer of Partition Generative Models, and the baselines it is compared
//! with, as [Burn](burn) modules.
//!
//! - [`PartitionTransformer`] predicts every token from the tokens of the *other* group of a
//!   partition, and any unknown position from the known tokens alone.
//! - [`Dit`] is the bidirectional transformer of masked diffusion language models.
//! - [`CausalDit`] is the same stack made causal, the autoregressive baseline.
//!
//! [`layers`] has the parts that all three are made of.
//!
//! [`judges`] has GPT-2 and Llama, which judge the text that others draw.
//!
//! The crate holds networks only: no loss, no sampling, no files other than [`weights`]. [`cost`]
//! counts parameters and arithmetic.
//! The networks implement the traits of `discrete-diffusion`, whose objectives and samplers drive
//! them.
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use pgm_model::PartitionTransformerConfig;
//!
//! let device = Device::flex();
//! let model = PartitionTransformerConfig {
//!     vocab_size: 11,
//!     d_model: 16,
//!     n_heads: 2,
//!     n_encoder_blocks: 1,
//!     n_decoder_blocks: 1,
//!     ..Default::default()
//! }
//! .init(&device);
//!
//! let tokens = Tensor::<2, Int>::from_ints([[3, 1, 4, 1, 5]], &device);
//! let groups = Tensor::<2, Int>::from_ints([[0, 1, 0, 0, 1]], &device);
//! let sigma = Tensor::<1>::zeros([1], &device);
//! let logits = model.forward(tokens, groups, sigma);
//! assert_eq!(logits.dims(), [1, 5, 11]);
//! ```

mod causal_dit;
mod config;
pub mod cost;
mod decoder;
mod denoiser;
mod dit;
mod encoder;
mod group_swap;
mod input;
pub mod judges;
mod key_value_cache;
mod language_model;
pub mod layers;
mod partition_transformer;
mod precision;
mod shape_checks;
pub mod weights;

pub use causal_dit::{CausalDit, CausalDitConfig};
pub use config::ConfigError;
pub use discrete_diffusion::{KnownTokens, QueryPositions};
pub use dit::{Dit, DitConfig};
pub use group_swap::{GroupSwap, GroupSwapConfig, PreQuery, QueryProcessorKind};
pub use input::SortedTokens;
pub use key_value_cache::{BlockCache, KeyValueCache};
pub use language_model::{LanguageModel, LanguageModelConfig};
pub use partition_transformer::{PartitionTransformer, PartitionTransformerConfig};
pub use precision::Precision;
