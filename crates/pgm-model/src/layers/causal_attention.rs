use burn::tensor::Tensor;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

/// Attention in which the last query reads all keys, and each one before it one key less.
///
/// # Shapes
/// - query and output: `[batch, heads, query_len, head_dim]`
/// - key, value: `[batch, heads, key_len, head_dim]`
pub fn causal_attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let options = AttentionModuleOptions {
        is_causal: true,
        ..Default::default()
    };
    attention(query, key, value, None, None, options)
}
