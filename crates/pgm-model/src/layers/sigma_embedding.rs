use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};

use super::frequencies::Frequencies;
use super::linear::apply_to_rows;

const N_FREQUENCIES: usize = 128;

/// Sizes of a [`SigmaEmbedding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigmaEmbeddingConfig {
    /// Width of the conditioning vector.
    pub cond_dim: usize,
}

impl SigmaEmbeddingConfig {
    /// Builds the layers with random weights.
    pub fn init(&self, device: &Device) -> SigmaEmbedding {
        let linear = |d_input| LinearConfig::new(d_input, self.cond_dim).init(device);
        SigmaEmbedding {
            up: linear(2 * N_FREQUENCIES),
            down: linear(self.cond_dim),
            frequencies: Frequencies::geometric(2 * N_FREQUENCIES, device),
        }
    }
}

/// Maps the noise level to the conditioning vector of the network.
///
/// Language models of this family are run with sigma = 0, so that the vector is a constant; the
/// layer stays because published weights have it.
#[derive(Module, Debug)]
pub struct SigmaEmbedding {
    up: Linear,
    down: Linear,
    frequencies: Frequencies,
}

impl SigmaEmbedding {
    /// Returns the conditioning vector, its last SiLU included.
    ///
    /// # Shapes
    /// - sigma: `[batch or 1]`
    /// - output: `[batch or 1, cond_dim]`
    pub fn forward(&self, sigma: Tensor<1>) -> Tensor<2> {
        silu(self.features(sigma))
    }

    /// The vector before the last SiLU.
    pub(crate) fn features(&self, sigma: Tensor<1>) -> Tensor<2> {
        let sinusoid = self.frequencies.sinusoid(sigma.unsqueeze_dim(1));
        let sinusoid = sinusoid.squeeze_dim::<2>(1);
        apply_to_rows(&self.down, silu(apply_to_rows(&self.up, sinusoid)))
    }
}
