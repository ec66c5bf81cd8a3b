use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::TransformerOps;

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, the tanh approximation of GELU.
///
/// Its gradient is that of the approximation.
///
/// # Reference
/// GELU (arXiv 1606.08415), section 2.
pub fn tanh_gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::tanh_gelu(input.into_dispatch()))
}
