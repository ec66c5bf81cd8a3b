use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Device, Tensor};
use transformer_kernels::repeat_row;

/// Layer normalisation with a weight and no bias.
pub(crate) fn layer_norm(d_model: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(d_model).with_bias(false).init(device)
}

/// Applies a layer normalisation that has a weight and no bias.
///
/// # Shapes
/// - input and output: `[batch, seq, d_model]`
pub(crate) fn normalise(norm: &LayerNorm, input: Tensor<3>) -> Tensor<3> {
    let shape @ [batch, seq_len, d_model] = input.dims();
    let ones = Tensor::<1>::ones([d_model], &input.device());
    let normed = burn::tensor::module::layer_norm(input, ones, None, 1e-5);
    normed * repeat_row(norm.gamma.val(), batch * seq_len).reshape(shape)
}
