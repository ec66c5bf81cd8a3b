use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::{apply_to_rows, repeat_modulation, zero_linear};

/// Shift, scale and gate of one residual branch, each `[batch or 1, 1, d_model]`.
#[derive(Debug, Clone)]
pub struct Modulation {
    shift: Tensor<3>,
    scale: Tensor<3>,
    gate: Tensor<3>,
}

impl Modulation {
    /// `x (1 + scale) + shift`.
    ///
    /// # Shapes
    /// - normed and output: `[batch, seq, d_model]`
    pub fn modulate(&self, normed: Tensor<3>) -> Tensor<3> {
        let shape = normed.dims();
        let scale = repeat_modulation(self.scale.clone(), shape);
        normed * scale.add_scalar(1.0) + repeat_modulation(self.shift.clone(), shape)
    }

    /// Scales the result of the branch before it is added to the stream.
    ///
    /// # Shapes
    /// - branch and output: `[batch, seq, d_model]`
    pub fn gate(&self, branch: Tensor<3>) -> Tensor<3> {
        let shape = branch.dims();
        branch * repeat_modulation(self.gate.clone(), shape)
    }
}

/// Turns the conditioning vector into the modulation of a block's two branches (adaLN-zero).
#[derive(Module, Debug)]
pub struct AdaLayerNorm {
    linear: Linear,
}

impl AdaLayerNorm {
    pub(crate) fn new(cond_dim: usize, d_model: usize, device: &Device) -> Self {
        Self {
            linear: zero_linear(cond_dim, 6 * d_model, device),
        }
    }

    /// Returns the modulation of the attention branch, and of the feed-forward branch.
    ///
    /// # Shapes
    /// - conditioning: `[batch or 1, cond_dim]`
    ///
    /// # Reference
    /// DiT (arXiv 2212.09748), "adaLN-Zero".
    pub fn forward(&self, conditioning: Tensor<2>) -> (Modulation, Modulation) {
        let all = apply_to_rows(&self.linear, conditioning).unsqueeze_dim::<3>(1);
        let d_model = all.dims()[2] / 6;
        let part = |i: usize| all.clone().narrow(2, i * d_model, d_model);
        let modulation = |first: usize| Modulation {
            shift: part(first),
            scale: part(first + 1),
            gate: part(first + 2),
        };
        (modulation(0), modulation(3))
    }
}
