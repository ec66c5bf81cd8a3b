use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, assert_shape};
use transformer_kernels::repeat_row;

use super::linear::{apply_to_rows, zero_linear};
use crate::shape_checks::{assert_batch_or_one, input_width};

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
        let shape = self.check(normed.dims());
        let scale = repeat_modulation(self.scale.clone(), shape);
        normed * scale.add_scalar(1.0) + repeat_modulation(self.shift.clone(), shape)
    }

    /// Scales the result of the branch before it is added to the stream.
    ///
    /// # Shapes
    /// - branch and output: `[batch, seq, d_model]`
    pub fn gate(&self, branch: Tensor<3>) -> Tensor<3> {
        let shape = self.check(branch.dims());
        branch * repeat_modulation(self.gate.clone(), shape)
    }

    /// The shape, if the modulation is of its batch and width.
    fn check(&self, shape: [usize; 3]) -> [usize; 3] {
        let [batch, _, d_model] = shape;
        assert_shape!(self.scale, [_, 1, d_model]);
        assert_batch_or_one("conditioning", self.scale.dims()[0], batch);
        shape
    }
}

/// `[batch or 1, 1, d_model]` as `[batch, seq, d_model]`.
pub(super) fn repeat_modulation(modulation: Tensor<3>, shape: [usize; 3]) -> Tensor<3> {
    let [batch, seq_len, _] = shape;
    match modulation.dims()[0] {
        1 => repeat_row(modulation.flatten(0, 2), batch * seq_len).reshape(shape),
        _ => modulation.expand(shape),
    }
}

/// Sizes of an [`AdaLayerNorm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaLayerNormConfig {
    /// Width of the conditioning vector.
    pub cond_dim: usize,
    /// Width of the network.
    pub d_model: usize,
}

impl AdaLayerNormConfig {
    /// Builds the layer with weights of zero, so that a block starts as the identity.
    pub fn init(&self, device: &Device) -> AdaLayerNorm {
        AdaLayerNorm {
            linear: zero_linear(self.cond_dim, 6 * self.d_model, device),
        }
    }
}

/// Turns the conditioning vector into the modulation of a block's two branches (adaLN-zero).
#[derive(Module, Debug)]
pub struct AdaLayerNorm {
    linear: Linear,
}

impl AdaLayerNorm {
    /// Returns the modulation of the attention branch, and of the feed-forward branch.
    ///
    /// # Shapes
    /// - conditioning: `[batch or 1, cond_dim]`
    ///
    /// # Reference
    /// DiT (arXiv 2212.09748), "adaLN-Zero".
    pub fn forward(&self, conditioning: Tensor<2>) -> (Modulation, Modulation) {
        assert_shape!(conditioning, [_, input_width(&self.linear)]);
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

/// The modulation of a block's two branches, nothing in a network without conditioning.
#[derive(Debug, Clone)]
pub(super) struct BlockModulation {
    pub attention: Option<Modulation>,
    pub feed_forward: Option<Modulation>,
}

impl BlockModulation {
    /// # Panics
    /// Panics if there is a layer without conditioning, or conditioning without a layer.
    pub fn new(layer: Option<&AdaLayerNorm>, conditioning: Option<Tensor<2>>) -> Self {
        assert_eq!(
            layer.is_some(),
            conditioning.is_some(),
            "a block has a `cond_dim` if and only if it is handed a conditioning vector"
        );
        let modulations = layer
            .zip(conditioning)
            .map(|(layer, conditioning)| layer.forward(conditioning));
        let (attention, feed_forward) = modulations.unzip();
        Self {
            attention,
            feed_forward,
        }
    }
}
