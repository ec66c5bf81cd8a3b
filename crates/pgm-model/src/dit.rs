use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Device, Int, Tensor, assert_shape};
use serde::{Deserialize, Serialize};

use crate::Precision;
use crate::config::{ConfigError, check_sizes};
use crate::encoder::{Encoder, EncoderContext};
use crate::input::{positions, segments};
use crate::layers::{
    BlockConfig, OutputLayer, OutputLayerConfig, RotaryEmbedding, SigmaEmbedding,
    SigmaEmbeddingConfig, token_embedding,
};
use crate::shape_checks::assert_batch_or_one;

/// Sizes of a [`Dit`]. The defaults are the published MDLM on GPT-2 tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DitConfig {
    /// Token ids the network knows, MASK included.
    pub vocab_size: usize,
    /// Width of the network.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Transformer blocks.
    pub n_blocks: usize,
    /// Width of the conditioning vector.
    pub cond_dim: usize,
    /// Width of the feed-forward layers, in units of `d_model`.
    pub mlp_ratio: usize,
    /// Dropout on both residual branches of a block, in `[0, 1)`.
    pub dropout: f64,
}

impl Default for DitConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50_258,
            d_model: 768,
            n_heads: 12,
            n_blocks: 12,
            cond_dim: 128,
            mlp_ratio: 4,
            dropout: 0.1,
        }
    }
}

impl DitConfig {
    /// # Errors
    /// When a size is 0, the heads do not divide the width, or the dropout is no probability.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("n_blocks", self.n_blocks),
            ("cond_dim", self.cond_dim),
            ("mlp_ratio", self.mlp_ratio),
        ];
        check_sizes(&sizes, self.d_model, self.n_heads, self.dropout)
    }

    /// Builds the network with random weights.
    ///
    /// # Panics
    /// Panics if [`Self::validate`] refuses the sizes.
    pub fn init(&self, device: &Device) -> Dit {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let block = BlockConfig {
            d_model: self.d_model,
            n_heads: self.n_heads,
            mlp_ratio: self.mlp_ratio,
            cond_dim: Some(self.cond_dim),
            dropout: self.dropout,
        };
        let output_layer = OutputLayerConfig {
            d_model: self.d_model,
            cond_dim: self.cond_dim,
            vocab_size: self.vocab_size,
        };
        let sigma_embedding = SigmaEmbeddingConfig {
            cond_dim: self.cond_dim,
        };
        Dit {
            token_embedding: token_embedding(self.vocab_size, self.d_model, device),
            sigma_embedding: sigma_embedding.init(device),
            encoder: Encoder::new(self.n_blocks, block, device),
            output_layer: output_layer.init(device),
            rotary_embedding: RotaryEmbedding::new(self.d_model / self.n_heads, device),
            precision: Precision::default(),
        }
    }
}

/// The bidirectional transformer of masked diffusion language models.
///
/// # Reference
/// MDLM (arXiv 2406.07524); DiT (arXiv 2212.09748).
#[derive(Module, Debug)]
pub struct Dit {
    token_embedding: Embedding,
    sigma_embedding: SigmaEmbedding,
    encoder: Encoder,
    output_layer: OutputLayer,
    rotary_embedding: RotaryEmbedding,
    #[module(skip)]
    precision: Precision,
}

impl Dit {
    /// Token ids it knows, MASK included.
    pub fn vocab_size(&self) -> usize {
        self.output_layer.vocab_size()
    }

    /// Multiplies matrices in this format from now on.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Logits of every position from all tokens, MASK tokens included.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - sigma: `[batch or 1]`
    /// - output: `[batch, seq, vocab_size]`
    pub fn forward(&self, tokens: Tensor<2, Int>, sigma: Tensor<1>) -> Tensor<3> {
        assert_batch_or_one("sigma", sigma.dims()[0], tokens.dims()[0]);
        let conditioning = self.sigma_embedding.forward(sigma);
        let hidden = self.hidden(tokens, conditioning.clone());
        self.output_layer
            .forward(hidden, conditioning, self.precision)
    }

    /// What [`Self::project`] makes the logits of chosen places of, with one noise level.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - places: `[n]`, indices into the `batch * seq` tokens, row by row
    /// - sigma: `[1]`
    /// - output: `[n, d_model]`
    pub fn features_at(
        &self,
        tokens: Tensor<2, Int>,
        places: Tensor<1, Int>,
        sigma: Tensor<1>,
    ) -> Tensor<2> {
        assert_shape!(sigma, [1]);
        let conditioning = self.sigma_embedding.forward(sigma);
        let hidden = self.hidden(tokens, conditioning.clone());
        let [batch, seq_len, d_model] = hidden.dims();
        let hidden = hidden.reshape([batch * seq_len, d_model]).select(0, places);
        self.output_layer
            .features(hidden.unsqueeze_dim(0), conditioning)
            .squeeze_dim(0)
    }

    /// Logits of features.
    ///
    /// # Shapes
    /// - features: `[n, d_model]`
    /// - output: `[n, vocab_size]`
    pub fn project(&self, features: Tensor<2>) -> Tensor<2> {
        self.output_layer.project(features, self.precision)
    }

    /// What the blocks make of the tokens, `[batch, seq, d_model]`.
    fn hidden(&self, tokens: Tensor<2, Int>, conditioning: Tensor<2>) -> Tensor<3> {
        let [batch, seq_len] = tokens.dims();
        let angles = self.rotary_embedding.angles(positions(seq_len, &tokens));
        let lengths = vec![seq_len; batch];
        let segments = segments(&lengths, seq_len, &lengths, seq_len, &tokens);
        let embedded = self.token_embedding.forward(tokens);
        let context = EncoderContext {
            conditioning,
            angles: &angles,
            segments: &segments,
            precision: self.precision,
        };
        self.encoder.forward(embedded, &context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(device: &Device) -> Dit {
        let config = DitConfig {
            vocab_size: 11,
            d_model: 16,
            n_heads: 2,
            n_blocks: 1,
            ..Default::default()
        };
        config.init(device)
    }

    #[test]
    #[should_panic(expected = "sigma is for a batch of 3, the batch is 2")]
    fn one_noise_level_per_sequence_or_one_for_all() {
        let device = Device::flex();
        let tokens = Tensor::zeros([2, 5], &device);
        model(&device).forward(tokens, Tensor::zeros([3], &device));
    }

    #[test]
    #[should_panic(expected = "axis 1 expected 16, got 15")]
    fn features_have_the_width_of_the_network() {
        let device = Device::flex();
        model(&device).project(Tensor::zeros([4, 15], &device));
    }
}
