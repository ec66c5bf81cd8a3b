use burn::nn::{Dropout, LayerNorm};
use burn::tensor::{Tensor, assert_shape};

use super::Modulation;
use super::layer_norm::normalise;

/// What runs through the blocks of a network: each branch reads it through a norm and adds its
/// result.
///
/// Every block goes through this type, self-attention and cross-attention, with and without
/// modulation.
#[derive(Debug, Clone)]
pub struct ResidualStream {
    /// `[batch, seq, d_model]`, float32.
    hidden: Tensor<3>,
}

impl ResidualStream {
    /// Starts with the input of the first block, `[batch, seq, d_model]`.
    pub fn new(hidden: Tensor<3>) -> Self {
        Self { hidden }
    }

    /// The input of a branch, `[batch, seq, d_model]`: normalised, and modulated if the network is
    /// conditioned.
    pub fn read(&self, norm: &LayerNorm, modulation: Option<&Modulation>) -> Tensor<3> {
        let normed = normalise(norm, self.hidden.clone());
        match modulation {
            Some(modulation) => modulation.modulate(normed),
            None => normed,
        }
    }

    /// Adds the result of a branch after dropout and, if the network is conditioned, its gate.
    pub fn add(
        self,
        branch: Tensor<3>,
        dropout: &Dropout,
        modulation: Option<&Modulation>,
    ) -> Self {
        let [batch, seq_len, d_model] = self.hidden.dims();
        assert_shape!(branch, [batch, seq_len, d_model]);
        let branch = dropout.forward(branch);
        let gated = match modulation {
            Some(modulation) => modulation.gate(branch),
            None => branch,
        };
        Self {
            hidden: self.hidden + gated,
        }
    }

    /// The sum, `[batch, seq, d_model]`.
    pub fn into_hidden(self) -> Tensor<3> {
        self.hidden
    }
}
