use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, assert_shape};
use transformer_kernels::tanh_gelu;

use super::linear::apply;
use crate::shape_checks::input_width;

/// Sizes of a [`FeedForward`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedForwardConfig {
    /// Width of the network.
    pub d_model: usize,
    /// Width between the two layers.
    pub d_hidden: usize,
}

impl FeedForwardConfig {
    /// Builds the layers with random weights.
    pub fn init(&self, device: &Device) -> FeedForward {
        FeedForward {
            up: LinearConfig::new(self.d_model, self.d_hidden).init(device),
            down: LinearConfig::new(self.d_hidden, self.d_model).init(device),
        }
    }
}

/// Two linear layers with a tanh-GELU between them.
#[derive(Module, Debug)]
pub struct FeedForward {
    up: Linear,
    down: Linear,
}

impl FeedForward {
    /// Applies the layers to each token.
    ///
    /// # Shapes
    /// - input and output: `[batch, seq, d_model]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        assert_shape!(input, [_, _, input_width(&self.up)]);
        apply(&self.down, tanh_gelu(apply(&self.up, input)))
    }
}
