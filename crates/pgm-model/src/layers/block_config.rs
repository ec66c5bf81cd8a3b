use burn::tensor::Device;

use super::{
    AdaLayerNorm, AdaLayerNormConfig, CrossAttentionBlock, FeedForward, FeedForwardConfig,
    SelfAttentionBlock,
};

/// Sizes that all blocks of a network share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Width of the network.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Width of the feed-forward layers, in units of `d_model`.
    pub mlp_ratio: usize,
    /// Width of the conditioning vector; `None` for blocks without modulation.
    pub cond_dim: Option<usize>,
    /// Dropout on both residual branches, in `[0, 1)`.
    pub dropout: f64,
}

impl BlockConfig {
    /// Builds a block with self-attention, with random weights.
    pub fn init_self_attention(&self, device: &Device) -> SelfAttentionBlock {
        SelfAttentionBlock::new(self, device)
    }

    /// Builds a block with cross-attention, with random weights.
    pub fn init_cross_attention(&self, device: &Device) -> CrossAttentionBlock {
        CrossAttentionBlock::new(self, device)
    }

    pub(super) fn feed_forward(&self, device: &Device) -> FeedForward {
        FeedForwardConfig {
            d_model: self.d_model,
            d_hidden: self.mlp_ratio * self.d_model,
        }
        .init(device)
    }

    pub(super) fn ada_layer_norm(&self, device: &Device) -> Option<AdaLayerNorm> {
        let config = AdaLayerNormConfig {
            cond_dim: self.cond_dim?,
            d_model: self.d_model,
        };
        Some(config.init(device))
    }
}
