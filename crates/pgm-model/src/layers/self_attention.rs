use burn::nn::Linear;
use burn::tensor::{Tensor, assert_shape};
use partition_attention::{Segments, partition_attention};

use super::causal_attention::causal_attention;
use super::heads::merge_heads;
use super::linear::apply;
use super::rotary_embedding::RotaryAngles;
use crate::Precision;
use crate::key_value_cache::{BlockCache, KeyValue};
use crate::shape_checks::input_width;

/// Attention of tokens to tokens of their own sequence.
///
/// It borrows its layers from the block that owns them, so that parameters are named after the block
/// alone.
#[derive(Debug, Clone, Copy)]
pub struct SelfAttention<'a> {
    /// `d_model` to `3 * d_model`: queries, keys and values.
    pub query_key_value: &'a Linear,
    /// `d_model` to `d_model`.
    pub output: &'a Linear,
    /// Attention heads.
    pub n_heads: usize,
}

/// What [`SelfAttention`] reads besides its tokens.
#[derive(Debug)]
pub struct SelfAttentionContext<'a> {
    /// Angles of the tokens.
    pub angles: &'a RotaryAngles,
    /// Which tokens each one reads.
    pub scope: AttentionScope<'a>,
    /// Of products and attention.
    pub precision: Precision,
}

/// Which tokens a token reads.
#[derive(Debug)]
pub enum AttentionScope<'a> {
    /// Those of its segment.
    Segments(&'a Segments),
    /// Itself and all before it, those in the cache included; the cache is extended.
    Past(Option<BlockCache<'a>>),
}

impl SelfAttention<'_> {
    /// Projects, rotates, attends, merges the heads and projects again.
    ///
    /// # Shapes
    /// - normed and output: `[batch, seq, d_model]`, float32
    ///
    /// # Panics
    /// Panics if the shapes disagree.
    pub fn forward(&self, normed: Tensor<3>, context: SelfAttentionContext) -> Tensor<3> {
        let d_model = input_width(self.query_key_value);
        assert_shape!(normed, [_, _, d_model]);
        let SelfAttentionContext {
            angles,
            scope,
            precision,
        } = context;
        let packed = apply(self.query_key_value, precision.round(normed));
        let mixed = match scope {
            AttentionScope::Segments(segments) => {
                let [query, key, value] = angles.rotate_packed(packed, self.n_heads);
                merge_heads(partition_attention(query, key, value, segments))
            }
            // Causal attention is in float32 with any precision.
            AttentionScope::Past(cache) => {
                let heads = angles.rotate_packed(precision.widen(packed), self.n_heads);
                precision.round(read_past(heads, cache))
            }
        };
        precision.widen(apply(self.output, mixed))
    }
}

/// Queries, keys and values `[batch, seq, heads, head_dim]` to `[batch, seq, d_model]`.
fn read_past(heads: [Tensor<4>; 3], cache: Option<BlockCache>) -> Tensor<3> {
    let [query, key, value] = heads.map(|heads| heads.swap_dims(1, 2));
    let new = KeyValue { key, value };
    let KeyValue { key, value } = match cache {
        Some(cache) => cache.extend(new),
        None => new,
    };
    merge_heads(causal_attention(query, key, value).swap_dims(1, 2))
}
