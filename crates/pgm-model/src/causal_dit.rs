use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Embedding, LayerNorm, Linear, LinearConfig};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, check_sizes};
use crate::input::positions;
use crate::layers::{
    FeedForward, RotaryAngles, RotaryEmbedding, apply, layer_norm, merge_heads, projection,
    split_heads,
};
use crate::partition_transformer::token_embedding;

/// Sizes of a [`CausalDit`]. The defaults are the authors' autoregressive baseline on GPT-2 tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CausalDitConfig {
    /// Token ids the network knows, MASK included (it is never predicted).
    pub vocab_size: usize,
    /// Width of the network.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Transformer blocks.
    pub n_blocks: usize,
    /// Width of the feed-forward layers, in units of `d_model`.
    pub mlp_ratio: usize,
    /// Dropout on both residual branches of a block, in `[0, 1)`.
    pub dropout: f64,
}

impl Default for CausalDitConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50_258,
            d_model: 768,
            n_heads: 12,
            n_blocks: 12,
            mlp_ratio: 4,
            dropout: 0.1,
        }
    }
}

impl CausalDitConfig {
    /// # Errors
    /// When a size is 0, the heads do not divide the width, or the dropout is no probability.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("n_blocks", self.n_blocks),
            ("mlp_ratio", self.mlp_ratio),
        ];
        check_sizes(&sizes, self.d_model, self.n_heads, self.dropout)
    }

    /// Builds the network with random weights.
    ///
    /// # Panics
    /// Panics if [`Self::validate`] refuses the sizes.
    pub fn init(&self, device: &Device) -> CausalDit {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        CausalDit {
            token_embedding: token_embedding(self.vocab_size, self.d_model, device),
            blocks: (0..self.n_blocks)
                .map(|_| CausalBlock::new(self, device))
                .collect(),
            norm: layer_norm(self.d_model, device),
            linear: LinearConfig::new(self.d_model, self.vocab_size)
                .with_initializer(burn::nn::Initializer::Zeros)
                .init(device),
            head_dim: self.d_model / self.n_heads,
        }
    }
}

/// The DiT made causal: no noise level, each position reads itself and what stands before it.
///
/// Not GPT-2: rotary positions, norms and attention without biases, an untied head.
#[derive(Module, Debug)]
pub struct CausalDit {
    token_embedding: Embedding,
    blocks: Vec<CausalBlock>,
    norm: LayerNorm,
    linear: Linear,
    head_dim: usize,
}

impl CausalDit {
    /// Logits of the token that follows each position.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - output: `[batch, seq, vocab_size]`
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, seq_len] = tokens.dims();
        let rotary = RotaryEmbedding::new(self.head_dim, &tokens.device());
        let angles = rotary.angles(positions(seq_len, &tokens));
        let embedded = self.token_embedding.forward(tokens);
        let hidden = self
            .blocks
            .iter()
            .fold(embedded, |hidden, block| block.forward(hidden, &angles));
        apply(&self.linear, self.norm.forward(hidden))
    }
}

#[derive(Module, Debug)]
struct CausalBlock {
    norm1: LayerNorm,
    attn_qkv: Linear,
    attn_out: Linear,
    norm2: LayerNorm,
    mlp: FeedForward,
    dropout: Dropout,
    n_heads: usize,
}

impl CausalBlock {
    fn new(config: &CausalDitConfig, device: &Device) -> Self {
        let d_model = config.d_model;
        Self {
            norm1: layer_norm(d_model, device),
            attn_qkv: projection(d_model, 3 * d_model, device),
            attn_out: projection(d_model, d_model, device),
            norm2: layer_norm(d_model, device),
            mlp: FeedForward::new(d_model, config.mlp_ratio, device),
            dropout: DropoutConfig::new(config.dropout).init(),
            n_heads: config.n_heads,
        }
    }

    fn forward(&self, hidden: Tensor<3>, angles: &RotaryAngles) -> Tensor<3> {
        let packed = apply(&self.attn_qkv, self.norm1.forward(hidden.clone()));
        let [query, key, value] = split_heads(packed, self.n_heads);
        let options = AttentionModuleOptions {
            is_causal: true,
            ..Default::default()
        };
        let mixed = attention(
            angles.rotate(query).swap_dims(1, 2),
            angles.rotate(key).swap_dims(1, 2),
            value.swap_dims(1, 2),
            None,
            None,
            options,
        );
        let branch = apply(&self.attn_out, merge_heads(mixed.swap_dims(1, 2)));
        let hidden = hidden + self.dropout.forward(branch);

        let branch = self.mlp.forward(self.norm2.forward(hidden.clone()));
        hidden + self.dropout.forward(branch)
    }
}
