use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::Precision;
use crate::config::{ConfigError, check_sizes};
use crate::input::positions;
use crate::key_value_cache::KeyValueCache;
use crate::layers::{
    AttentionScope, BlockConfig, ResidualStream, RotaryEmbedding, SelfAttentionBlock,
    SelfAttentionContext, apply, layer_norm, normalise, token_embedding, zero_linear,
};

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
        let block = BlockConfig {
            d_model: self.d_model,
            n_heads: self.n_heads,
            mlp_ratio: self.mlp_ratio,
            cond_dim: None,
            dropout: self.dropout,
        };
        CausalDit {
            token_embedding: token_embedding(self.vocab_size, self.d_model, device),
            blocks: (0..self.n_blocks)
                .map(|_| block.init_self_attention(device))
                .collect(),
            norm: layer_norm(self.d_model, device),
            linear: zero_linear(self.d_model, self.vocab_size, device),
            rotary_embedding: RotaryEmbedding::new(self.d_model / self.n_heads, device),
            precision: Precision::default(),
        }
    }
}

/// The DiT made causal: no noise level, each position reads itself and what stands before it.
///
/// Not GPT-2: rotary positions, norms and attention without biases, an untied head.
#[derive(Module, Debug)]
pub struct CausalDit {
    token_embedding: Embedding,
    blocks: Vec<SelfAttentionBlock>,
    norm: LayerNorm,
    linear: Linear,
    rotary_embedding: RotaryEmbedding,
    #[module(skip)]
    precision: Precision,
}

impl CausalDit {
    /// Token ids it knows, MASK included.
    pub fn vocab_size(&self) -> usize {
        self.linear.weight.dims()[1]
    }

    /// Multiplies matrices in this format from now on.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Logits of the token that follows each position.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - output: `[batch, seq, vocab_size]`
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.read_out(self.hidden(tokens, None))
    }

    /// Reads the tokens that follow those in the cache, and predicts the token after the last one.
    ///
    /// # Shapes
    /// - tokens: `[batch, new]`, at least one a sequence
    /// - output: `[batch, vocab_size]`
    ///
    /// # Panics
    /// Panics if there is no token, or the batch is another one than before.
    pub fn forward_cached(&self, tokens: Tensor<2, Int>, cache: &mut KeyValueCache) -> Tensor<2> {
        let [_, n_new] = tokens.dims();
        assert!(n_new > 0, "there is no token to read");
        let hidden = self.hidden(tokens, Some(cache));
        self.read_out(hidden.narrow(1, n_new - 1, 1)).squeeze_dim(1)
    }

    /// The blocks, for tokens that follow those in the cache.
    fn hidden(&self, tokens: Tensor<2, Int>, mut cache: Option<&mut KeyValueCache>) -> Tensor<3> {
        let [_, seq_len] = tokens.dims();
        let start = cache.as_ref().map_or(0, |cache| cache.seq_len());
        let angles = self
            .rotary_embedding
            .angles(positions(seq_len, &tokens).add_scalar(start as i64));
        let mut stream = ResidualStream::new(self.token_embedding.forward(tokens));
        for (i, block) in self.blocks.iter().enumerate() {
            let context = SelfAttentionContext {
                angles: &angles,
                scope: AttentionScope::Past(cache.as_mut().map(|cache| cache.block(i))),
                precision: self.precision,
            };
            stream = block.forward(stream, None, context);
        }
        stream.into_hidden()
    }

    fn read_out(&self, hidden: Tensor<3>) -> Tensor<3> {
        let normed = self.precision.round(normalise(&self.norm, hidden));
        self.precision.widen(apply(&self.linear, normed))
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::TensorData;

    use super::*;

    const VOCAB_SIZE: usize = 11;

    /// The output layer starts at zero; a random one shows differences.
    fn model(device: &Device) -> CausalDit {
        let config = CausalDitConfig {
            vocab_size: VOCAB_SIZE,
            d_model: 16,
            n_heads: 2,
            n_blocks: 3,
            ..Default::default()
        };
        CausalDit {
            linear: LinearConfig::new(16, VOCAB_SIZE).init(device),
            ..config.init(device)
        }
    }

    #[test]
    fn reading_piece_by_piece_gives_the_logits_of_the_whole() {
        let device = Device::flex();
        let model = model(&device);
        let tokens: Vec<i64> = (0..3 * 12).map(|i| i * i % VOCAB_SIZE as i64).collect();
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [3, 12]), &device);
        let whole = model.forward(tokens.clone());
        let mut spread = 0f32;
        for pieces in [vec![1; 12], vec![12], vec![5, 1, 1, 5], vec![3, 4, 2, 2, 1]] {
            let mut cache = KeyValueCache::default();
            for piece in pieces {
                let start = cache.seq_len();
                let read = tokens.clone().narrow(1, start, piece);
                let logits = model.forward_cached(read, &mut cache);
                assert_eq!(cache.seq_len(), start + piece);
                let expected = whole
                    .clone()
                    .narrow(1, start + piece - 1, 1)
                    .squeeze_dim::<2>(1);
                let difference = (logits - expected.clone()).abs().max().into_scalar::<f32>();
                assert!(difference < 1e-5, "off by {difference:e}");
                spread = spread.max(expected.abs().max().into_scalar::<f32>());
            }
        }
        assert!(spread > 0.1, "the logits are too small to tell: {spread}");
    }

    #[test]
    #[should_panic(expected = "the cache is of 2 sequences")]
    fn another_batch_does_not_fit_the_cache() {
        let device = Device::flex();
        let model = model(&device);
        let mut cache = KeyValueCache::default();
        model.forward_cached(Tensor::zeros([2, 1], &device), &mut cache);
        model.forward_cached(Tensor::zeros([1, 1], &device), &mut cache);
    }
}
