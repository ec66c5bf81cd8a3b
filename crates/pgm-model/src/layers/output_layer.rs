use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor, assert_shape};

use super::ada_layer_norm::repeat_modulation;
use super::layer_norm::{layer_norm, normalise};
use super::linear::{apply, apply_to_rows, zero_linear};
use crate::Precision;
use crate::shape_checks::{assert_batch_or_one, input_width};

/// Sizes of an [`OutputLayer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLayerConfig {
    /// Width of the network.
    pub d_model: usize,
    /// Width of the conditioning vector.
    pub cond_dim: usize,
    /// Token ids it has logits of.
    pub vocab_size: usize,
}

impl OutputLayerConfig {
    /// Builds the layer with logits of zero.
    pub fn init(&self, device: &Device) -> OutputLayer {
        OutputLayer {
            norm: layer_norm(self.d_model, device),
            ada_layer_norm: zero_linear(self.cond_dim, 2 * self.d_model, device),
            linear: zero_linear(self.d_model, self.vocab_size, device),
        }
    }
}

/// The last norm, its modulation, and the projection to the vocabulary.
#[derive(Module, Debug)]
pub struct OutputLayer {
    norm: LayerNorm,
    ada_layer_norm: Linear,
    linear: Linear,
}

impl OutputLayer {
    /// Token ids it has logits of.
    pub fn vocab_size(&self) -> usize {
        self.linear.weight.dims()[1]
    }

    /// Logits of every position.
    ///
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
        let [batch, _, d_model] = hidden.dims();
        assert_eq!(d_model, input_width(&self.linear), "width of `hidden`");
        assert_shape!(conditioning, [_, input_width(&self.ada_layer_norm)]);
        assert_batch_or_one("conditioning", conditioning.dims()[0], batch);
        let modulation = apply_to_rows(&self.ada_layer_norm, conditioning).unsqueeze_dim::<3>(1);
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
        assert_shape!(features, [_, input_width(&self.linear)]);
        precision.widen(apply_to_rows(&self.linear, precision.round(features)))
    }
}
