use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};

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
        let frequencies: Vec<f32> = (0..N_FREQUENCIES)
            .map(|j| 10_000f64.powf(-(j as f64) / N_FREQUENCIES as f64) as f32)
            .collect();
        let frequencies = TensorData::new(frequencies, [1, N_FREQUENCIES]);
        let frequencies = Tensor::<2>::from_data(frequencies, &sigma.device());
        let angles = sigma.unsqueeze_dim::<2>(1) * frequencies;
        let sinusoid = Tensor::cat(vec![angles.clone().cos(), angles.sin()], 1);
        apply_to_rows(&self.down, silu(apply_to_rows(&self.up, sinusoid)))
    }
}
