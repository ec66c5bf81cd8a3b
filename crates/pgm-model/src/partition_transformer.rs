use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Device, Int, Tensor, assert_shape};
use discrete_diffusion::{KnownTokens, QueryPositions};
use partition_attention::Segments;
use serde::{Deserialize, Serialize};

use crate::Precision;
use crate::config::{ConfigError, check_sizes};
use crate::decoder::Decoder;
use crate::encoder::{Encoder, EncoderContext};
use crate::group_swap::{GroupSwap, GroupSwapConfig, PreQuery, QueryProcessorKind};
use crate::input::{SortedTokens, known_segments, query_segments};
use crate::layers::{
    BlockConfig, CrossAttentionContext, OutputLayer, OutputLayerConfig, RotaryEmbedding,
    SigmaEmbedding, SigmaEmbeddingConfig, token_embedding,
};
use crate::shape_checks::assert_batch_or_one;

/// Sizes of a [`PartitionTransformer`]. The defaults are the published 8/8 model on GPT-2 tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartitionTransformerConfig {
    /// Token ids the network knows, MASK included.
    pub vocab_size: usize,
    /// Width of the network.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Blocks with self-attention inside a group.
    pub n_encoder_blocks: usize,
    /// Blocks with cross-attention to the other group.
    pub n_decoder_blocks: usize,
    /// Width of the conditioning vector.
    pub cond_dim: usize,
    /// Width of the feed-forward layers, in units of `d_model`.
    pub mlp_ratio: usize,
    /// Dropout on both residual branches of a block, in `[0, 1)`.
    pub dropout: f64,
    /// What GroupSwap's queries are made of.
    pub pre_query: PreQuery,
    /// The map from GroupSwap's pre-query to its query.
    pub query_processor: QueryProcessorKind,
}

impl Default for PartitionTransformerConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50_258,
            d_model: 768,
            n_heads: 12,
            n_encoder_blocks: 8,
            n_decoder_blocks: 8,
            cond_dim: 128,
            mlp_ratio: 4,
            dropout: 0.1,
            pre_query: PreQuery::default(),
            query_processor: QueryProcessorKind::default(),
        }
    }
}

impl PartitionTransformerConfig {
    /// # Errors
    /// When a size is 0, the heads do not divide the width, or the dropout is no probability.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("n_encoder_blocks", self.n_encoder_blocks),
            ("n_decoder_blocks", self.n_decoder_blocks),
            ("cond_dim", self.cond_dim),
            ("mlp_ratio", self.mlp_ratio),
        ];
        check_sizes(&sizes, self.d_model, self.n_heads, self.dropout)
    }

    /// Builds the network with random weights.
    ///
    /// # Panics
    /// Panics if [`Self::validate`] refuses the sizes.
    pub fn init(&self, device: &Device) -> PartitionTransformer {
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
        let group_swap = GroupSwapConfig {
            d_model: self.d_model,
            n_heads: self.n_heads,
            pre_query: self.pre_query,
            query_processor: self.query_processor,
        };
        PartitionTransformer {
            token_embedding: token_embedding(self.vocab_size, self.d_model, device),
            sigma_embedding: sigma_embedding.init(device),
            encoder: Encoder::new(self.n_encoder_blocks, block, device),
            group_swap: group_swap.init(device),
            decoder: Decoder::new(self.n_decoder_blocks, block, device),
            output_layer: output_layer.init(device),
            rotary_embedding: RotaryEmbedding::new(self.d_model / self.n_heads, device),
            precision: Precision::default(),
        }
    }
}

/// Predicts each token from the tokens of the group it does not belong to.
///
/// # Reference
/// PGM (arXiv 2505.18883), section 4.
#[derive(Module, Debug)]
pub struct PartitionTransformer {
    token_embedding: Embedding,
    sigma_embedding: SigmaEmbedding,
    encoder: Encoder,
    group_swap: GroupSwap,
    decoder: Decoder,
    output_layer: OutputLayer,
    rotary_embedding: RotaryEmbedding,
    #[module(skip)]
    precision: Precision,
}

impl PartitionTransformer {
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

    /// Logits of every token, each from the tokens of the other group.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - groups: `[batch, seq]`, 0 or 1
    /// - sigma: `[batch or 1]`
    /// - output: `[batch, seq, vocab_size]`
    pub fn forward(
        &self,
        tokens: Tensor<2, Int>,
        groups: Tensor<2, Int>,
        sigma: Tensor<1>,
    ) -> Tensor<3> {
        let sorted = SortedTokens::new(tokens, groups);
        let layout = sorted.layout.clone();
        layout.unsort(self.forward_sorted(sorted, sigma))
    }

    /// As [`Self::forward`], on tokens that are already sorted by group; the logits stay in that
    /// order.
    ///
    /// # Shapes
    /// - sigma: `[batch or 1]`
    /// - output: `[batch, seq, vocab_size]`
    pub fn forward_sorted(&self, input: SortedTokens, sigma: Tensor<1>) -> Tensor<3> {
        let within = input.layout.within_groups();
        let across = input.layout.across_groups();
        self.logits(Pass {
            tokens: input.tokens,
            token_positions: input.positions.clone(),
            token_segments: within,
            query_positions: input.positions,
            query_segments: across,
            sigma,
        })
    }

    /// Logits of chosen positions from known tokens alone: what sampling needs.
    ///
    /// # Shapes
    /// - sigma: `[batch or 1]`
    /// - output: `[batch, queries, vocab_size]`
    ///
    /// # Panics
    /// Panics if the lengths of `known` or `queries` do not fit their tensors.
    pub fn forward_known(
        &self,
        known: KnownTokens,
        queries: QueryPositions,
        sigma: Tensor<1>,
    ) -> Tensor<3> {
        self.logits(Pass::known(known, queries, sigma))
    }

    /// What [`Self::project`] makes the logits of [`Self::forward_known`] of.
    ///
    /// # Shapes
    /// - sigma: `[batch or 1]`
    /// - output: `[batch, queries, d_model]`
    ///
    /// # Panics
    /// Panics if the lengths of `known` or `queries` do not fit their tensors.
    pub fn features_known(
        &self,
        known: KnownTokens,
        queries: QueryPositions,
        sigma: Tensor<1>,
    ) -> Tensor<3> {
        let (hidden, conditioning) = self.run(Pass::known(known, queries, sigma));
        self.output_layer.features(hidden, conditioning)
    }

    /// Logits of features.
    ///
    /// # Shapes
    /// - features: `[n, d_model]`
    /// - output: `[n, vocab_size]`
    pub fn project(&self, features: Tensor<2>) -> Tensor<2> {
        self.output_layer.project(features, self.precision)
    }

    fn logits(&self, pass: Pass) -> Tensor<3> {
        let (hidden, conditioning) = self.run(pass);
        self.output_layer
            .forward(hidden, conditioning, self.precision)
    }

    /// What the decoder makes of the queries, and the conditioning.
    fn run(&self, pass: Pass) -> (Tensor<3>, Tensor<2>) {
        pass.check_shapes();
        let conditioning = self.sigma_embedding.forward(pass.sigma);
        let key_angles = self.rotary_embedding.angles(pass.token_positions);
        let query_angles = self.rotary_embedding.angles(pass.query_positions.clone());

        let embedded = self.token_embedding.forward(pass.tokens);
        let context = EncoderContext {
            conditioning: conditioning.clone(),
            angles: &key_angles,
            segments: &pass.token_segments,
            precision: self.precision,
        };
        let context = CrossAttentionContext {
            encoded: self.encoder.forward(embedded, &context),
            query_angles: &query_angles,
            key_angles: &key_angles,
            segments: &pass.query_segments,
            precision: self.precision,
        };
        let hidden = self.group_swap.forward(pass.query_positions, &context);
        let hidden = self.decoder.forward(hidden, conditioning.clone(), &context);
        (hidden, conditioning)
    }
}

/// One run of the network: tokens that read each other, and queries that read them.
struct Pass {
    tokens: Tensor<2, Int>,
    token_positions: Tensor<2, Int>,
    token_segments: Segments,
    query_positions: Tensor<2, Int>,
    query_segments: Segments,
    sigma: Tensor<1>,
}

impl Pass {
    /// # Panics
    /// Panics if the shapes disagree.
    fn check_shapes(&self) {
        let [batch, n_tokens] = self.tokens.dims();
        assert_shape!(self.token_positions, [batch, n_tokens]);
        assert_shape!(self.query_positions, [batch, _]);
        assert_batch_or_one("sigma", self.sigma.dims()[0], batch);
    }

    fn known(known: KnownTokens, queries: QueryPositions, sigma: Tensor<1>) -> Self {
        Self {
            token_segments: known_segments(&known),
            query_segments: query_segments(&known, &queries),
            tokens: known.tokens,
            token_positions: known.positions,
            query_positions: queries.positions,
            sigma,
        }
    }
}
