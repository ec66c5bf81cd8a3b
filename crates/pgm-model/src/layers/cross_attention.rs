use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Tensor, assert_shape};
use partition_attention::{Segments, partition_attention};

use super::heads::{merge_heads, split_heads};
use super::layer_norm::normalise;
use super::linear::apply;
use super::rotary_embedding::RotaryAngles;
use crate::Precision;

/// Attention of queries to the output of an encoder.
///
/// It borrows its layers from the block that owns them, so that parameters are named after the block
/// alone.
#[derive(Debug, Clone, Copy)]
pub struct CrossAttention<'a> {
    /// Of the encoder output; it has a weight and no bias. `None` reads the output as it is.
    pub key_value_norm: Option<&'a LayerNorm>,
    /// `d_model` to `2 * d_model`: keys and values.
    pub key_value: &'a Linear,
    /// `d_model` to `d_model`.
    pub output: &'a Linear,
    /// Attention heads.
    pub n_heads: usize,
}

/// What [`CrossAttention`] reads from, the same for all blocks of a decoder.
#[derive(Debug, Clone)]
pub struct CrossAttentionContext<'a> {
    /// Encoder output, `[batch, keys, d_model]`, float32.
    pub encoded: Tensor<3>,
    /// Angles of the queries.
    pub query_angles: &'a RotaryAngles,
    /// Angles of the encoded tokens.
    pub key_angles: &'a RotaryAngles,
    /// Which encoded tokens each query reads.
    pub segments: &'a Segments,
    /// Of products and attention.
    pub precision: Precision,
}

impl CrossAttention<'_> {
    /// Projects the encoder output, rotates, attends, merges the heads and projects the result.
    ///
    /// # Shapes
    /// - query: `[batch, queries, d_model]`, projected, in the format of `context.precision`
    /// - output: `[batch, queries, d_model]`, float32
    ///
    /// # Panics
    /// Panics if the shapes disagree.
    pub fn forward(&self, query: Tensor<3>, context: &CrossAttentionContext) -> Tensor<3> {
        let [batch, _, d_model] = query.dims();
        assert_shape!(context.encoded, [batch, _, d_model]);
        let precision = context.precision;
        let [query] = split_heads(query, self.n_heads);
        let encoded = context.encoded.clone();
        let encoded = match self.key_value_norm {
            Some(norm) => normalise(norm, encoded),
            None => encoded,
        };
        let packed = apply(self.key_value, precision.round(encoded));
        let [key, value] = split_heads(packed, self.n_heads);
        let mixed = partition_attention(
            context.query_angles.rotate(query),
            context.key_angles.rotate(key),
            value,
            context.segments,
        );
        precision.widen(apply(self.output, merge_heads(mixed)))
    }
}
