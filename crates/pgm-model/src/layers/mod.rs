//! The parts that networks are made of.
//!
//! A block owns its linear layers and norms; [`SelfAttention`] and [`CrossAttention`] borrow them.
//! [`ResidualStream`] is what all branches read and add to.
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use pgm_model::Precision;
//! use pgm_model::layers::{
//!     AttentionScope, BlockConfig, ResidualStream, RotaryEmbedding, SelfAttentionContext,
//! };
//!
//! let device = Device::flex();
//! let block = BlockConfig {
//!     d_model: 16,
//!     n_heads: 2,
//!     mlp_ratio: 4,
//!     cond_dim: None,
//!     dropout: 0.0,
//! }
//! .init_self_attention(&device);
//!
//! let positions = Tensor::<2, Int>::from_ints([[0, 1, 2, 3, 4]], &device);
//! let angles = RotaryEmbedding::new(8, &device).angles(positions);
//! let context = SelfAttentionContext {
//!     angles: &angles,
//!     scope: AttentionScope::Past(None),
//!     precision: Precision::F32,
//! };
//! let stream = ResidualStream::new(Tensor::zeros([3, 5, 16], &device));
//! let hidden = block.forward(stream, None, context).into_hidden();
//! assert_eq!(hidden.dims(), [3, 5, 16]);
//! ```

mod ada_layer_norm;
mod block_config;
mod causal_attention;
mod cross_attention;
mod cross_attention_block;
mod feed_forward;
mod frequencies;
mod heads;
mod layer_norm;
mod linear;
mod output_layer;
mod residual_stream;
mod rotary_embedding;
mod self_attention;
mod self_attention_block;
mod sigma_embedding;
mod token_embedding;

pub use ada_layer_norm::{AdaLayerNorm, AdaLayerNormConfig, Modulation};
pub use block_config::BlockConfig;
pub use causal_attention::causal_attention;
pub use cross_attention::{CrossAttention, CrossAttentionContext};
pub use cross_attention_block::CrossAttentionBlock;
pub use feed_forward::{FeedForward, FeedForwardConfig};
pub(crate) use frequencies::Frequencies;
pub use heads::{merge_heads, split_heads};
pub(crate) use layer_norm::{layer_norm, normalise};
pub(crate) use linear::zero_linear;
pub use linear::{apply, apply_to_rows, projection};
pub use output_layer::{OutputLayer, OutputLayerConfig};
pub use residual_stream::ResidualStream;
pub use rotary_embedding::{RotaryAngles, RotaryEmbedding};
pub use self_attention::{AttentionScope, SelfAttention, SelfAttentionContext};
pub use self_attention_block::SelfAttentionBlock;
pub use sigma_embedding::{SigmaEmbedding, SigmaEmbeddingConfig};
pub(crate) use token_embedding::token_embedding;
