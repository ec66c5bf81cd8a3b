use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::layers::{BlockConfig, CrossAttentionBlock, CrossAttentionContext, ResidualStream};

/// A stack of blocks with cross-attention to the output of an encoder.
#[derive(Module, Debug)]
pub(crate) struct Decoder {
    blocks: Vec<CrossAttentionBlock>,
}

impl Decoder {
    pub fn new(n_blocks: usize, config: BlockConfig, device: &Device) -> Self {
        Self {
            blocks: (0..n_blocks)
                .map(|_| config.init_cross_attention(device))
                .collect(),
        }
    }

    /// `[batch, queries, d_model]` to the same shape; conditioning is `[batch or 1, cond_dim]`.
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        conditioning: Tensor<2>,
        context: &CrossAttentionContext,
    ) -> Tensor<3> {
        let stream = ResidualStream::new(hidden);
        let stream = self.blocks.iter().fold(stream, |stream, block| {
            block.forward(stream, Some(conditioning.clone()), context)
        });
        stream.into_hidden()
    }
}
