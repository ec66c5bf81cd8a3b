use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, assert_shape};
use transformer_kernels::matrix_product;

use crate::shape_checks::input_width;

/// A linear layer without bias.
pub fn projection(d_input: usize, d_output: usize, device: &Device) -> Linear {
    LinearConfig::new(d_input, d_output)
        .with_bias(false)
        .init(device)
}

/// A linear layer that starts at zero, so that a network starts as the identity.
pub(crate) fn zero_linear(d_input: usize, d_output: usize, device: &Device) -> Linear {
    LinearConfig::new(d_input, d_output)
        .with_initializer(Initializer::Zeros)
        .init(device)
}

/// Applies a linear layer to all tokens in one matrix product, which is faster than one per sequence.
///
/// # Shapes
/// - input: `[batch, seq, d_input]`
/// - output: `[batch, seq, d_output]`
pub fn apply(linear: &Linear, input: Tensor<3>) -> Tensor<3> {
    assert_shape!(input, [_, _, input_width(linear)]);
    let [batch, seq_len, d_input] = input.dims();
    let output = apply_to_rows(linear, input.reshape([batch * seq_len, d_input]));
    let d_output = output.dims()[1];
    output.reshape([batch, seq_len, d_output])
}

/// Applies a linear layer to the rows of a matrix, in the number format of the matrix.
///
/// # Shapes
/// - input: `[n, d_input]`
/// - output: `[n, d_output]`
pub fn apply_to_rows(linear: &Linear, input: Tensor<2>) -> Tensor<2> {
    assert_shape!(input, [_, input_width(linear)]);
    let dtype = input.dtype();
    let weight = linear.weight.val().cast(dtype);
    match &linear.bias {
        Some(bias) => transformer_kernels::linear(input, weight, bias.val().cast(dtype)),
        None => matrix_product(input, weight),
    }
}
