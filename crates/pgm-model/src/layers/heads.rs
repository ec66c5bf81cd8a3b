use burn::tensor::Tensor;

/// Splits a packed projection into `N` tensors of heads.
///
/// # Shapes
/// - packed: `[batch, seq, N * d_model]`
/// - outputs: `[batch, seq, heads, head_dim]`
///
/// # Panics
/// Panics if the width is not a multiple of `N * n_heads`.
pub fn split_heads<const N: usize>(packed: Tensor<3>, n_heads: usize) -> [Tensor<4>; N] {
    let [batch, seq_len, width] = packed.dims();
    assert!(
        width.is_multiple_of(N * n_heads),
        "a width of {width} cannot be split into {N} times {n_heads} heads"
    );
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

/// Joins the heads of each token, the inverse of [`split_heads`].
///
/// # Shapes
/// - heads: `[batch, seq, heads, head_dim]`
/// - output: `[batch, seq, heads * head_dim]`
pub fn merge_heads(heads: Tensor<4>) -> Tensor<3> {
    let [batch, seq_len, n_heads, head_dim] = heads.dims();
    heads.reshape([batch, seq_len, n_heads * head_dim])
}
