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

/// `[m, k]` times `[k, n]`, with gradients of both.
///
/// The same as [`Tensor::matmul`], but on CUDA by cuBLASLt, which needs no tuning: a new shape costs
/// microseconds instead of seconds to minutes. Transposed matrices are read where they lie. Sums are
/// float32, and float32 is not rounded to tf32.
///
/// # Panics
/// Panics if the inner sizes differ.
pub fn matrix_product(left: Tensor<2>, right: Tensor<2>) -> Tensor<2> {
    let ([_, k], [right_k, _]) = (left.dims(), right.dims());
    assert!(
        k == right_k,
        "a matrix with {k} columns cannot be multiplied with one of {right_k} rows"
    );
    Tensor::from_dispatch(Dispatch::matrix_product(
        left.into_dispatch(),
        right.into_dispatch(),
    ))
}

/// A linear layer: `[m, k]` times `[k, n]`, plus a bias `[n]` in every row, with gradients of all three.
///
/// [`matrix_product`] plus the bias; on CUDA cuBLASLt adds it while it writes the product.
///
/// # Panics
/// Panics if the sizes do not fit together.
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let ([_, k], [weight_k, n], [bias_n]) = (input.dims(), weight.dims(), bias.dims());
    assert!(
        k == weight_k && n == bias_n,
        "a linear layer with weights [{weight_k}, {n}] takes rows of {weight_k} numbers and a bias of {n}, not {k} and \
         {bias_n}"
    );
    Tensor::from_dispatch(Dispatch::linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.unsqueeze::<2>().into_dispatch(),
    ))
}

/// A row `[n]` as `[n_rows, n]`, without copies; its gradient is the sum of each column.
///
/// The same as broadcasting, but for that sum: on CUDA it is a product with ones by cuBLASLt, up to a
/// hundred times as fast as Burn's reduction.
pub fn repeat_row(row: Tensor<1>, n_rows: usize) -> Tensor<2> {
    let row = row.unsqueeze::<2>();
    Tensor::from_dispatch(Dispatch::repeat_row(row.into_dispatch(), n_rows))
}
