//! Layers that the networks are made of.

mod ada_layer_norm;
mod feed_forward;
mod output_layer;
mod rotary_embedding;
mod sigma_embedding;

pub use ada_layer_norm::{AdaLayerNorm, Modulation};
pub use feed_forward::FeedForward;
pub use output_layer::OutputLayer;
pub(crate) use rotary_embedding::inverse_frequencies;
pub use rotary_embedding::{RotaryAngles, RotaryEmbedding};
pub use sigma_embedding::SigmaEmbedding;

use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};
use transformer_kernels::{matrix_product, repeat_row};

/// Layer normalisation with a weight and no bias.
pub(crate) fn layer_norm(d_model: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(d_model).with_bias(false).init(device)
}

/// Layer normalisation by a layer with a weight and no bias.
///
/// # Shapes
/// - input and output: `[batch, seq, d_model]`
pub(crate) fn normalise(norm: &LayerNorm, input: Tensor<3>) -> Tensor<3> {
    let shape @ [batch, seq_len, d_model] = input.dims();
    let ones = Tensor::<1>::ones([d_model], &input.device());
    let normed = burn::tensor::module::layer_norm(input, ones, None, 1e-5);
    normed * repeat_row(norm.gamma.val(), batch * seq_len).reshape(shape)
}

/// `[batch or 1, 1, d_model]` as `[batch, seq, d_model]`.
pub(crate) fn repeat_modulation(modulation: Tensor<3>, shape: [usize; 3]) -> Tensor<3> {
    let [batch, seq_len, _] = shape;
    match modulation.dims()[0] {
        1 => repeat_row(modulation.flatten(0, 2), batch * seq_len).reshape(shape),
        _ => modulation.expand(shape),
    }
}

/// A projection without bias.
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

/// Applies a linear layer to all tokens in one matrix product, which is faster than one a sequence.
pub fn apply(linear: &Linear, input: Tensor<3>) -> Tensor<3> {
    let [batch, seq_len, d_input] = input.dims();
    let output = apply_to_rows(linear, input.reshape([batch * seq_len, d_input]));
    let d_output = output.dims()[1];
    output.reshape([batch, seq_len, d_output])
}

/// Applies a linear layer to the rows of a matrix, in the number format of the matrix.
pub(crate) fn apply_to_rows(linear: &Linear, input: Tensor<2>) -> Tensor<2> {
    let dtype = input.dtype();
    let weight = linear.weight.val().cast(dtype);
    match &linear.bias {
        Some(bias) => transformer_kernels::linear(input, weight, bias.val().cast(dtype)),
        None => matrix_product(input, weight),
    }
}

/// Cuts a packed projection `[batch, seq, N * d_model]` into `N` tensors
/// `[batch, seq, heads, head_dim]`.
pub fn split_heads<const N: usize>(packed: Tensor<3>, n_heads: usize) -> [Tensor<4>; N] {
    let [batch, seq_len, width] = packed.dims();
    let d_model = width / N;
    std::array::from_fn(|i| {
        packed.clone().narrow(2, i * d_model, d_model).reshape([
            batch,
            seq_len,
            n_heads,
            d_model / n_heads,
        ])
    })
}

/// Attention in which the last query reads all keys, and each one before it one key less.
///
/// All are `[batch, heads, seq, head_dim]`.
pub fn causal_attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let options = AttentionModuleOptions {
        is_causal: true,
        ..Default::default()
    };
    attention(query, key, value, None, None, options)
}

/// The inverse of splitting into heads.
pub fn merge_heads(heads: Tensor<4>) -> Tensor<3> {
    let [batch, seq_len, n_heads, head_dim] = heads.dims();
    heads.reshape([batch, seq_len, n_heads * head_dim])
}
