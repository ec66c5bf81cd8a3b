//! The parts that networks are made of.
//!
//! Blocks own their linear layers and norms; [`SelfAttention`] and [`CrossAttention`] borrow them.
//! [`ResidualStream`] is what all branches read and add to.

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
