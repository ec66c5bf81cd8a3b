use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use partition_attention::{Segments, partition_attention};

use crate::Precision;
use crate::encoder::BlockSizes;
use crate::layers::{
    AdaLayerNorm, FeedForward, RotaryAngles, apply, layer_norm, merge_heads, normalise, projection,
    split_heads,
};

/// What the decoder reads from, the same for all its blocks.
#[derive(Debug, Clone)]
pub(crate) struct CrossInput<'a> {
    /// Encoder output, `[batch, keys, d_model]`.
    pub encoded: Tensor<3>,
    /// `[batch or 1, cond_dim]`
    pub conditioning: Tensor<2>,
    /// Angles of the queries.
    pub query_angles: &'a RotaryAngles,
    /// Angles of the encoded tokens.
    pub key_angles: &'a RotaryAngles,
    /// Which encoded tokens each query reads.
    pub segments: &'a Segments,
    /// Of products and attention.
    pub precision: Precision,
}

/// A transformer block with cross-attention to the encoder output and no self-attention.
#[derive(Module, Debug)]
pub struct DecoderBlock {
    query_norm: LayerNorm,
    key_value_norm: LayerNorm,
    attn_query: Linear,
    attn_key_value: Linear,
    attn_out: Linear,
    norm2: LayerNorm,
    mlp: FeedForward,
    ada_layer_norm: AdaLayerNorm,
    dropout: Dropout,
    n_heads: usize,
}

impl DecoderBlock {
    pub(crate) fn new(sizes: BlockSizes, device: &Device) -> Self {
        let d_model = sizes.d_model;
        Self {
            query_norm: layer_norm(d_model, device),
            key_value_norm: layer_norm(d_model, device),
            attn_query: projection(d_model, d_model, device),
            attn_key_value: projection(d_model, 2 * d_model, device),
            attn_out: projection(d_model, d_model, device),
            norm2: layer_norm(d_model, device),
            mlp: FeedForward::new(d_model, sizes.mlp_ratio, device),
            ada_layer_norm: AdaLayerNorm::new(sizes.cond_dim, d_model, device),
            dropout: DropoutConfig::new(sizes.dropout).init(),
            n_heads: sizes.n_heads,
        }
    }

    /// `[batch, queries, d_model]` to the same shape.
    pub(crate) fn forward(&self, hidden: Tensor<3>, input: &CrossInput) -> Tensor<3> {
        let precision = input.precision;
        let (attention, feed_forward) = self.ada_layer_norm.forward(input.conditioning.clone());

        let normed = attention.modulate(normalise(&self.query_norm, hidden.clone()));
        let [query] = split_heads(
            apply(&self.attn_query, precision.round(normed)),
            self.n_heads,
        );
        let normed = precision.round(normalise(&self.key_value_norm, input.encoded.clone()));
        let [key, value] = split_heads(apply(&self.attn_key_value, normed), self.n_heads);
        let mixed = partition_attention(
            input.query_angles.rotate(query),
            input.key_angles.rotate(key),
            value,
            input.segments,
        );
        let branch = precision.widen(apply(&self.attn_out, merge_heads(mixed)));
        let hidden = hidden + attention.gate(self.dropout.forward(branch));

        let normed = feed_forward.modulate(normalise(&self.norm2, hidden.clone()));
        let branch = precision.widen(self.mlp.forward(precision.round(normed)));
        hidden + feed_forward.gate(self.dropout.forward(branch))
    }
}

/// A stack of [`DecoderBlock`]s.
#[derive(Module, Debug)]
pub struct Decoder {
    blocks: Vec<DecoderBlock>,
}

impl Decoder {
    pub(crate) fn new(n_blocks: usize, sizes: BlockSizes, device: &Device) -> Self {
        Self {
            blocks: (0..n_blocks)
                .map(|_| DecoderBlock::new(sizes, device))
                .collect(),
        }
    }

    /// `[batch, queries, d_model]` to the same shape.
    pub(crate) fn forward(&self, hidden: Tensor<3>, input: &CrossInput) -> Tensor<3> {
        self.blocks
            .iter()
            .fold(hidden, |hidden, block| block.forward(hidden, input))
    }
}
