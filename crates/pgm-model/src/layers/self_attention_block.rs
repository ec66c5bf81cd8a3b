use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::ada_layer_norm::BlockModulation;
use super::block_config::BlockConfig;
use super::layer_norm::layer_norm;
use super::linear::projection;
use super::residual_stream::ResidualStream;
use super::self_attention::{SelfAttention, SelfAttentionContext};
use super::{AdaLayerNorm, FeedForward};

/// A transformer block with self-attention, conditioned or not.
#[derive(Module, Debug)]
pub struct SelfAttentionBlock {
    norm1: LayerNorm,
    attn_qkv: Linear,
    attn_out: Linear,
    norm2: LayerNorm,
    mlp: FeedForward,
    ada_layer_norm: Option<AdaLayerNorm>,
    dropout: Dropout,
    n_heads: usize,
}

impl SelfAttentionBlock {
    pub(super) fn new(config: &BlockConfig, device: &Device) -> Self {
        let d_model = config.d_model;
        Self {
            norm1: layer_norm(d_model, device),
            attn_qkv: projection(d_model, 3 * d_model, device),
            attn_out: projection(d_model, d_model, device),
            norm2: layer_norm(d_model, device),
            mlp: config.feed_forward(device),
            ada_layer_norm: config.ada_layer_norm(device),
            dropout: DropoutConfig::new(config.dropout).init(),
            n_heads: config.n_heads,
        }
    }

    /// Adds the attention branch and the feed-forward branch to the stream.
    ///
    /// # Shapes
    /// - conditioning: `[batch or 1, cond_dim]`; `None` for a block without `cond_dim`
    ///
    /// # Panics
    /// Panics if the shapes disagree, or the conditioning is missing or not wanted.
    pub fn forward(
        &self,
        stream: ResidualStream,
        conditioning: Option<Tensor<2>>,
        context: SelfAttentionContext,
    ) -> ResidualStream {
        let precision = context.precision;
        let modulation = BlockModulation::new(self.ada_layer_norm.as_ref(), conditioning);
        let attention = SelfAttention {
            query_key_value: &self.attn_qkv,
            output: &self.attn_out,
            n_heads: self.n_heads,
        };
        let normed = stream.read(&self.norm1, modulation.attention.as_ref());
        let branch = attention.forward(normed, context);
        let stream = stream.add(branch, &self.dropout, modulation.attention.as_ref());

        let normed = stream.read(&self.norm2, modulation.feed_forward.as_ref());
        let branch = precision.widen(self.mlp.forward(precision.round(normed)));
        stream.add(branch, &self.dropout, modulation.feed_forward.as_ref())
    }
}
