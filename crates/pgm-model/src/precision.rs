use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// The number format of matrix products and attention. Parameters, norms, the residual stream and
/// logits are float32 with any of them, so that checkpoints do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16 with float32 sums: what tensor cores are for.
    Bf16,
}

impl Precision {
    /// Its name, as in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The tensor in this format.
    pub(crate) fn round<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => tensor,
            Self::Bf16 => tensor.cast(DType::BF16),
        }
    }

    /// The inverse of [`Self::round`], but for what was lost.
    pub(crate) fn widen<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => tensor,
            Self::Bf16 => tensor.cast(DType::F32),
        }
    }
}
