use burn::module::Module;
use burn::tensor::{Device, Tensor};
use partition_attention::Segments;

use crate::Precision;
use crate::layers::{
    AttentionScope, BlockConfig, ResidualStream, RotaryAngles, SelfAttentionBlock,
    SelfAttentionContext,
};

/// A stack of blocks with self-attention inside segments.
#[derive(Module, Debug)]
pub(crate) struct Encoder {
    blocks: Vec<SelfAttentionBlock>,
}

/// What the blocks of an encoder read besides their tokens.
#[derive(Debug)]
pub(crate) struct EncoderContext<'a> {
    /// `[batch or 1, cond_dim]`
    pub conditioning: Tensor<2>,
    /// Angles of the tokens.
    pub angles: &'a RotaryAngles,
    /// Which tokens each one reads.
    pub segments: &'a Segments,
    /// Of products and attention.
    pub precision: Precision,
}

impl Encoder {
    pub fn new(n_blocks: usize, config: BlockConfig, device: &Device) -> Self {
        Self {
            blocks: (0..n_blocks)
                .map(|_| config.init_self_attention(device))
                .collect(),
        }
    }

    /// `[batch, seq, d_model]` to the same shape.
    pub fn forward(&self, hidden: Tensor<3>, context: &EncoderContext) -> Tensor<3> {
        let stream = ResidualStream::new(hidden);
        let stream = self.blocks.iter().fold(stream, |stream, block| {
            let attention = SelfAttentionContext {
                angles: context.angles,
                scope: AttentionScope::Segments(context.segments),
                precision: context.precision,
            };
            block.forward(stream, Some(context.conditioning.clone()), attention)
        });
        stream.into_hidden()
    }
}
