use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, assert_shape};

/// Attention in which the last query reads all keys, and each one before it one key less.
///
/// # Shapes
/// - query and output: `[batch, heads, query_len, head_dim]`
/// - key, value: `[batch, heads, key_len, head_dim]`
///
/// # Panics
/// Panics if the shapes disagree.
pub fn causal_attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    let [batch, n_heads, _, head_dim] = query.dims();
    assert_shape!(key, [batch, n_heads, _, head_dim]);
    let key_len = key.dims()[2];
    assert_shape!(value, [batch, n_heads, key_len, head_dim]);
    let options = AttentionModuleOptions {
        is_causal: true,
        ..Default::default()
    };
    attention(query, key, value, None, None, options)
}
