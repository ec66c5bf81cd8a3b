use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use transformer_kernels::tanh_gelu;

use super::apply;

/// Two linear layers with a tanh-GELU between them.
#[derive(Module, Debug)]
pub struct FeedForward {
    up: Linear,
    down: Linear,
}

impl FeedForward {
    pub(crate) fn new(d_model: usize, mlp_ratio: usize, device: &Device) -> Self {
        Self::with_width(d_model, mlp_ratio * d_model, device)
    }

    /// Layers of `d_hidden` features between, with random weights.
    pub fn with_width(d_model: usize, d_hidden: usize, device: &Device) -> Self {
        Self {
            up: LinearConfig::new(d_model, d_hidden).init(device),
            down: LinearConfig::new(d_hidden, d_model).init(device),
        }
    }

    /// # Shapes
    /// - input and output: `[batch, seq, d_model]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        apply(&self.down, tanh_gelu(apply(&self.up, input)))
    }
}
