use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Embedding, LayerNorm, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::Precision;
use crate::config::{ConfigError, check_sizes};
use crate::input::positions;
use crate::key_value_cache::{KeyValue, KeyValueCache};
use crate::layers::{
    FeedForward, RotaryAngles, RotaryEmbedding, apply, causal_attention, layer_norm, merge_heads,
    normalise, projection, split_heads,
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
    blocks: Vec<CausalBlock>,
    norm: LayerNorm,
    linear: Linear,
    head_dim: usize,
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
        self.read_out(self.hidden(tokens, 0, &mut |_, new| new))
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
        let start = cache.seq_len();
        let hidden = self.hidden(tokens, start, &mut |block, new| cache.extend(block, new));
        self.read_out(hidden.narrow(1, n_new - 1, 1)).squeeze_dim(1)
    }

    /// The blocks, for tokens that stand from position `start` on. `extend` is handed the keys and
    /// values of these tokens, block by block, and returns those of all tokens up to them.
    fn hidden(
        &self,
        tokens: Tensor<2, Int>,
        start: usize,
        extend: &mut dyn FnMut(usize, KeyValue) -> KeyValue,
    ) -> Tensor<3> {
        let [_, seq_len] = tokens.dims();
        let rotary = RotaryEmbedding::new(self.head_dim, &tokens.device());
        let angles = rotary.angles(positions(seq_len, &tokens).add_scalar(start as i64));
        let mut hidden = self.token_embedding.forward(tokens);
        for (i, block) in self.blocks.iter().enumerate() {
            hidden = block.forward(hidden, &angles, self.precision, |new| extend(i, new));
        }
        hidden
    }

    fn read_out(&self, hidden: Tensor<3>) -> Tensor<3> {
        let normed = self.precision.round(normalise(&self.norm, hidden));
        self.precision.widen(apply(&self.linear, normed))
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

    fn forward(
        &self,
        hidden: Tensor<3>,
        angles: &RotaryAngles,
        precision: Precision,
        extend: impl FnOnce(KeyValue) -> KeyValue,
    ) -> Tensor<3> {
        let normed = precision.round(normalise(&self.norm1, hidden.clone()));
        let packed = precision.widen(apply(&self.attn_qkv, normed));
        let [query, key, value] = split_heads(packed, self.n_heads);
        let KeyValue { key, value } = extend(KeyValue {
            key: angles.rotate(key).swap_dims(1, 2),
            value: value.swap_dims(1, 2),
        });
        let mixed = causal_attention(angles.rotate(query).swap_dims(1, 2), key, value);
        let mixed = precision.round(merge_heads(mixed.swap_dims(1, 2)));
        let branch = precision.widen(apply(&self.attn_out, mixed));
        let hidden = hidden + self.dropout.forward(branch);

        let normed = precision.round(normalise(&self.norm2, hidden.clone()));
        let branch = precision.widen(self.mlp.forward(normed));
        hidden + self.dropout.forward(branch)
    }
}

#[cfg(test)]
mod tests {
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
