use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use partition_attention::{Segments, partition_attention};

use crate::Precision;
use crate::layers::{
    AdaLayerNorm, FeedForward, RotaryAngles, apply, layer_norm, merge_heads, normalise, projection,
    split_heads,
};

/// Sizes that every block of a network shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSizes {
    pub d_model: usize,
    pub n_heads: usize,
    pub cond_dim: usize,
    pub mlp_ratio: usize,
    pub dropout: f64,
}

/// A transformer block with self-attention inside segments.
#[derive(Module, Debug)]
pub struct EncoderBlock {
    norm1: LayerNorm,
    attn_qkv: Linear,
    attn_out: Linear,
    norm2: LayerNorm,
    mlp: FeedForward,
    ada_layer_norm: AdaLayerNorm,
    dropout: Dropout,
    n_heads: usize,
}

impl EncoderBlock {
    pub(crate) fn new(sizes: BlockSizes, device: &Device) -> Self {
        let d_model = sizes.d_model;
        Self {
            norm1: layer_norm(d_model, device),
            attn_qkv: projection(d_model, 3 * d_model, device),
            attn_out: projection(d_model, d_model, device),
            norm2: layer_norm(d_model, device),
            mlp: FeedForward::new(d_model, sizes.mlp_ratio, device),
            ada_layer_norm: AdaLayerNorm::new(sizes.cond_dim, d_model, device),
            dropout: DropoutConfig::new(sizes.dropout).init(),
            n_heads: sizes.n_heads,
        }
    }

    /// # Shapes
    /// - hidden and output: `[batch, seq, d_model]`
    /// - conditioning: `[batch or 1, cond_dim]`
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        conditioning: Tensor<2>,
        angles: &RotaryAngles,
        segments: &Segments,
        precision: Precision,
    ) -> Tensor<3> {
        let (attention, feed_forward) = self.ada_layer_norm.forward(conditioning);

        let normed = attention.modulate(normalise(&self.norm1, hidden.clone()));
        let normed = precision.round(normed);
        let [query, key, value] = split_heads(apply(&self.attn_qkv, normed), self.n_heads);
        let mixed = partition_attention(angles.rotate(query), angles.rotate(key), value, segments);
        let branch = precision.widen(apply(&self.attn_out, merge_heads(mixed)));
        let hidden = hidden + attention.gate(self.dropout.forward(branch));

        let normed = feed_forward.modulate(normalise(&self.norm2, hidden.clone()));
        let branch = precision.widen(self.mlp.forward(precision.round(normed)));
        hidden + feed_forward.gate(self.dropout.forward(branch))
    }
}

/// A stack of [`EncoderBlock`]s.
#[derive(Module, Debug)]
pub struct Encoder {
    blocks: Vec<EncoderBlock>,
}

impl Encoder {
    pub(crate) fn new(n_blocks: usize, sizes: BlockSizes, device: &Device) -> Self {
        Self {
            blocks: (0..n_blocks)
                .map(|_| EncoderBlock::new(sizes, device))
                .collect(),
        }
    }

    /// # Shapes
    /// - hidden and output: `[batch, seq, d_model]`
    /// - conditioning: `[batch or 1, cond_dim]`
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        conditioning: Tensor<2>,
        angles: &RotaryAngles,
        segments: &Segments,
        precision: Precision,
    ) -> Tensor<3> {
        self.blocks.iter().fold(hidden, |hidden, block| {
            block.forward(hidden, conditioning.clone(), angles, segments, precision)
        })
    }
}
