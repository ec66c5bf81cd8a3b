use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor, assert_shape};
use partition_attention::Segments;
use serde::{Deserialize, Serialize};

use crate::layers::{CrossAttention, CrossAttentionContext, Frequencies, apply};
use crate::shape_checks::input_width;

/// What the query of a position is made of, besides a learned vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PreQuery {
    /// The learned vector alone.
    #[serde(rename = "learn")]
    Learned,
    /// Plus a sinusoid of the position.
    #[default]
    #[serde(rename = "learn+freqs")]
    Sinusoid,
    /// Plus a sinusoid of the position and the mean of the encoder output over the other group.
    #[serde(rename = "learn+freqs+mean")]
    SinusoidMean,
    /// Plus a sinusoid of the position and the log-sum-exp of the encoder output over the other
    /// group.
    #[serde(rename = "learn+freqs+logsumexp")]
    SinusoidLogSumExp,
}

/// The map from the normalised pre-query to the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryProcessorKind {
    /// One linear layer.
    #[default]
    Linear,
    /// Two linear layers, four times as wide between them, with SiLU.
    Mlp4,
}

/// See [`QueryProcessorKind`].
#[derive(Module, Debug)]
struct QueryProcessor {
    first: Linear,
    second: Option<Linear>,
}

impl QueryProcessor {
    fn new(kind: QueryProcessorKind, d_model: usize, device: &Device) -> Self {
        let linear = |d_input, d_output| LinearConfig::new(d_input, d_output).init(device);
        match kind {
            QueryProcessorKind::Linear => Self {
                first: linear(d_model, d_model),
                second: None,
            },
            QueryProcessorKind::Mlp4 => Self {
                first: linear(d_model, 4 * d_model),
                second: Some(linear(4 * d_model, d_model)),
            },
        }
    }

    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let hidden = apply(&self.first, input);
        match &self.second {
            Some(second) => apply(second, silu(hidden)),
            None => hidden,
        }
    }
}

/// Sizes and kinds of a [`GroupSwap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSwapConfig {
    /// Width of the network.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// What the queries are made of.
    pub pre_query: PreQuery,
    /// The map from the pre-query to the query.
    pub query_processor: QueryProcessorKind,
}

impl GroupSwapConfig {
    /// Builds the layer with random weights.
    pub fn init(&self, device: &Device) -> GroupSwap {
        let d_model = self.d_model;
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 1.0,
        };
        GroupSwap {
            base_embedding: normal.init([1, d_model], device),
            norm: LayerNormConfig::new(d_model).init(device),
            query_processor: QueryProcessor::new(self.query_processor, d_model, device),
            key_value: LinearConfig::new(d_model, 2 * d_model).init(device),
            out: LinearConfig::new(d_model, d_model).init(device),
            frequencies: Frequencies::geometric(d_model, device),
            n_heads: self.n_heads,
            pre_query: self.pre_query,
        }
    }
}

/// Builds a query for each position that knows nothing of the token there, and lets it read the
/// group it does not belong to.
///
/// # Reference
/// PGM (arXiv 2505.18883), section 4, "GroupSwap". The reduction over the other group is added
/// before the norm, as in the authors' code; the paper's equation 11 has it behind.
#[derive(Module, Debug)]
pub struct GroupSwap {
    base_embedding: Param<Tensor<2>>,
    norm: LayerNorm,
    query_processor: QueryProcessor,
    key_value: Linear,
    out: Linear,
    /// Of the sinusoid of a position.
    frequencies: Frequencies,
    n_heads: usize,
    #[module(skip)]
    pre_query: PreQuery,
}

impl GroupSwap {
    /// Reads the other group for each position.
    ///
    /// # Shapes
    /// - positions: `[batch, queries]`
    /// - output: `[batch, queries, d_model]`
    ///
    /// # Panics
    /// Panics if the shapes disagree.
    pub fn forward(&self, positions: Tensor<2, Int>, context: &CrossAttentionContext) -> Tensor<3> {
        let [batch, _] = positions.dims();
        let d_model = input_width(&self.key_value);
        assert_shape!(context.encoded, [batch, _, d_model]);
        let pre_query = self.pre_query(positions, &context.encoded, context.segments);
        let normed = context.precision.round(self.norm.forward(pre_query));
        let attention = CrossAttention {
            key_value_norm: None,
            key_value: &self.key_value,
            output: &self.out,
            n_heads: self.n_heads,
        };
        attention.forward(self.query_processor.forward(normed), context)
    }

    fn pre_query(
        &self,
        positions: Tensor<2, Int>,
        encoded: &Tensor<3>,
        segments: &Segments,
    ) -> Tensor<3> {
        let [batch, queries] = positions.dims();
        let base = self.base_embedding.val().unsqueeze_dim::<3>(0);
        let d_model = base.dims()[2];
        if self.pre_query == PreQuery::Learned {
            return base.expand([batch, queries, d_model]);
        }
        let query = base + self.frequencies.sinusoid(positions.float());
        let reduced = match self.pre_query {
            PreQuery::Learned | PreQuery::Sinusoid => return query,
            PreQuery::SinusoidMean => segment_means(encoded, segments),
            PreQuery::SinusoidLogSumExp => segment_log_sum_exps(encoded, segments),
        };
        query + segments.query_membership(queries).matmul(reduced)
    }
}

/// `[batch, n_segments, d_model]`: the mean over each segment's keys, 0 where there are none.
fn segment_means(encoded: &Tensor<3>, segments: &Segments) -> Tensor<3> {
    let members = segments.key_membership(encoded.dims()[1]).swap_dims(1, 2);
    let counts = members.clone().sum_dim(2).clamp_min(1.0);
    members.matmul(encoded.clone()) / counts
}

/// `[batch, n_segments, d_model]`: the log-sum-exp over each segment's keys, 0 where there are
/// none.
fn segment_log_sum_exps(encoded: &Tensor<3>, segments: &Segments) -> Tensor<3> {
    let members = segments.key_membership(encoded.dims()[1]);
    let n_segments = members.dims()[2];
    let rows = (0..n_segments)
        .map(|segment| {
            let inside = members.clone().narrow(2, segment, 1);
            let outside = inside.clone().equal_elem(0.0);
            let outside = outside.expand(encoded.dims());
            let max = encoded
                .clone()
                .detach()
                .mask_fill(outside.clone(), -1e30)
                .max_dim(1);
            let shifted = (encoded.clone() - max.clone()).mask_fill(outside.clone(), 0.0);
            let sum = shifted.exp().mask_fill(outside, 0.0).sum_dim(1);
            let is_empty = sum.clone().equal_elem(0.0);
            let sum = sum.mask_fill(is_empty.clone(), 1.0);
            (sum.log() + max).mask_fill(is_empty, 0.0)
        })
        .collect();
    Tensor::cat(rows, 1)
}
