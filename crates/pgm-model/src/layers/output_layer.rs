use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use crate::Precision;

use super::{apply, apply_to_rows, layer_norm, normalise, repeat_modulation, zero_linear};

/// The last norm, its modulation, and the projection to the vocabulary.
#[derive(Module, Debug)]
pub struct OutputLayer {
    norm: LayerNorm,
    ada_layer_norm: Linear,
    linear: Linear,
}

impl OutputLayer {
    pub(crate) fn new(d_model: usize, cond_dim: usize, vocab_size: usize, device: &Device) -> Self {
        Self {
            norm: layer_norm(d_model, device),
            ada_layer_norm: zero_linear(cond_dim, 2 * d_model, device),
            linear: zero_linear(d_model, vocab_size, device),
        }
    }

    /// Token ids it has logits of.
    pub fn vocab_size(&self) -> usize {
        self.linear.weight.dims()[1]
    }

    /// # Shapes
    /// - hidden: `[batch, seq, d_model]`
    /// - conditioning: `[batch or 1, cond_dim]`
    /// - output: `[batch, seq, vocab_size]`
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        conditioning: Tensor<2>,
        precision: Precision,
    ) -> Tensor<3> {
        let features = self.features(hidden, conditioning);
        precision.widen(apply(&self.linear, precision.round(features)))
    }

    /// What is projected to the vocabulary.
    ///
    /// # Shapes
    /// - hidden and output: `[batch, seq, d_model]`
    /// - conditioning: `[batch or 1, cond_dim]`
    pub fn features(&self, hidden: Tensor<3>, conditioning: Tensor<2>) -> Tensor<3> {
        let modulation = apply_to_rows(&self.ada_layer_norm, conditioning).unsqueeze_dim::<3>(1);
        let d_model = hidden.dims()[2];
        let shift = modulation.clone().narrow(2, 0, d_model);
        let scale = modulation.narrow(2, d_model, d_model);
        let shape = hidden.dims();
        normalise(&self.norm, hidden) * repeat_modulation(scale, shape).add_scalar(1.0)
            + repeat_modulation(shift, shape)
    }

    /// Logits of features.
    ///
    /// # Shapes
    /// - features: `[n, d_model]`
    /// - output: `[n, vocab_size]`
    pub fn project(&self, features: Tensor<2>, precision: Precision) -> Tensor<2> {
        precision.widen(apply_to_rows(&self.linear, precision.round(features)))
    }
}
