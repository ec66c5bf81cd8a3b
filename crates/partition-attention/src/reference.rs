//! Dense attention composed of Burn's own operations: the body for every backend without a faster
//! one, and the oracle for those that have one.
//!
//! Scores of all pairs are built and the ones outside the segments are blocked, in O(L^2) memory.

use burn::backend::{
    Backend, TensorMetadata,
    tensor::{BoolTensor, FloatTensor, IntTensor},
};
use burn::tensor::{BoolDType, DType, FloatDType, IntDType, Shape, Slice};

/// Below every real score; finite, so that `score - max` is never `inf - inf`.
const BLOCKED_SCORE: f64 = -1e30;

/// The forward pass of [`PartitionAttentionOps`](crate::PartitionAttentionOps).
pub fn forward<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    segments: IntTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let dtype: FloatDType = query.dtype().into();
    let blocked = blocked_pairs::<B>(&query, &key, segments);
    let scores = scores::<B>(query, key);
    let value = heads_first::<B>(widen::<B>(value));

    let scores = B::float_mask_fill(scores, blocked.clone(), BLOCKED_SCORE.into());
    let max = B::float_max_dim(scores.clone(), 3);
    let weights = B::float_exp(B::float_sub(scores, max.clone()));
    let weights = B::float_mask_fill(weights, blocked, 0.0.into());
    let sum = B::float_sum_dim(weights.clone(), 3);

    let without_keys = B::float_equal_elem(sum.clone(), 0.0.into(), bool_dtype::<B>(&sum));
    let divisor = B::float_mask_fill(sum.clone(), without_keys.clone(), 1.0.into());
    let output = B::float_div(B::float_matmul(weights, value), divisor.clone());
    let log_sum_exp = B::float_mask_fill(
        B::float_add(B::float_log(divisor), max),
        without_keys,
        f64::NEG_INFINITY.into(),
    );
    (B::float_cast(heads_first::<B>(output), dtype), log_sum_exp)
}

/// The backward pass of [`PartitionAttentionOps`](crate::PartitionAttentionOps).
pub fn backward<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    segments: IntTensor<B>,
    output: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
    output_grad: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let dtype: FloatDType = query.dtype().into();
    let scale = scale(&query);
    let blocked = blocked_pairs::<B>(&query, &key, segments);
    let scores = scores::<B>(query.clone(), key.clone());
    let [query, key, value, output, output_grad] =
        [query, key, value, output, output_grad].map(|x| heads_first::<B>(widen::<B>(x)));

    // `-inf` marks queries without keys; all their weights are blocked anyway.
    let without_keys = B::float_lower_elem(
        log_sum_exp.clone(),
        BLOCKED_SCORE.into(),
        bool_dtype::<B>(&log_sum_exp),
    );
    let log_sum_exp = B::float_mask_fill(log_sum_exp, without_keys, 0.0.into());
    let scores = B::float_mask_fill(scores, blocked.clone(), BLOCKED_SCORE.into());
    let weights = B::float_exp(B::float_sub(scores, log_sum_exp));

    let value_grad = B::float_matmul(B::float_transpose(weights.clone()), output_grad.clone());
    let weights_grad = B::float_matmul(output_grad.clone(), B::float_transpose(value));
    let delta = B::float_sum_dim(B::float_mul(output, output_grad), 3);
    let scores_grad = B::float_mul(weights, B::float_sub(weights_grad, delta));
    let query_grad = B::float_mul_scalar(B::float_matmul(scores_grad.clone(), key), scale.into());
    let key_grad = B::float_mul_scalar(
        B::float_matmul(B::float_transpose(scores_grad), query),
        scale.into(),
    );
    let narrow = |grad| B::float_cast(heads_first::<B>(grad), dtype);
    (narrow(query_grad), narrow(key_grad), narrow(value_grad))
}

fn scale<T: TensorMetadata>(query: &T) -> f64 {
    1.0 / (query.shape()[3] as f64).sqrt()
}

/// Half-precision inputs are worked on in float32.
fn widen<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    match tensor.dtype() {
        DType::F32 | DType::F64 => tensor,
        _ => B::float_cast(tensor, FloatDType::F32),
    }
}

/// Swaps the token and the head axis.
fn heads_first<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    B::float_swap_dims(tensor, 1, 2)
}

/// `[batch, heads, query_len, key_len]`
fn scores<B: Backend>(query: FloatTensor<B>, key: FloatTensor<B>) -> FloatTensor<B> {
    let scale = scale(&query);
    let query = B::float_mul_scalar(widen::<B>(query), scale.into());
    let key = heads_first::<B>(widen::<B>(key));
    B::float_matmul(heads_first::<B>(query), B::float_transpose(key))
}

/// `[batch, heads, query_len, key_len]`: true where the query must not read the key.
fn blocked_pairs<B: Backend>(
    query: &FloatTensor<B>,
    key: &FloatTensor<B>,
    segments: IntTensor<B>,
) -> BoolTensor<B> {
    let [batch, query_len, heads] = [0, 1, 2].map(|axis| query.shape()[axis]);
    let key_len = key.shape()[1];
    let queries = membership::<B>(segments.clone(), query_len, 0);
    let keys = membership::<B>(segments, key_len, 2);
    let shared = B::float_matmul(queries, B::float_transpose(keys));
    let blocked = B::float_lower_elem(shared.clone(), 0.5.into(), bool_dtype::<B>(&shared));
    let blocked = B::bool_reshape(blocked, Shape::from([batch, 1, query_len, key_len]));
    B::bool_expand(blocked, Shape::from([batch, heads, query_len, key_len]))
}

/// `[batch, len, n_segments]`: 1 where the position lies in the segment. `column` is that of the
/// segment's start; its length is the next one.
fn membership<B: Backend>(segments: IntTensor<B>, len: usize, column: isize) -> FloatTensor<B> {
    let device = segments.device();
    let int_dtype: IntDType = segments.dtype().into();
    let [batch, n_segments] = [0, 1].map(|axis| segments.shape()[axis]);
    let shape = Shape::from([batch, len, n_segments]);
    let spread = |column: isize| {
        let slices = [
            Slice::full(),
            Slice::full(),
            Slice::new(column, Some(column + 1), 1),
        ];
        let column = B::int_slice(segments.clone(), &slices);
        let column = B::int_reshape(column, Shape::from([batch, 1, n_segments]));
        B::int_expand(column, shape.clone())
    };
    let start = spread(column);
    let end = B::int_add(start.clone(), spread(column + 1));
    let positions = B::int_arange(0..len as i64, &device, int_dtype);
    let positions = B::int_reshape(positions, Shape::from([1, len, 1]));
    let positions = B::int_expand(positions, shape);
    let bool_dtype = burn::backend::get_or_init_device_settings::<B>(&device).bool_dtype;
    let inside = B::bool_and(
        B::int_greater_equal(positions.clone(), start, bool_dtype),
        B::int_lower(positions, end, bool_dtype),
    );
    B::bool_into_float(inside, FloatDType::F32)
}

fn bool_dtype<B: Backend>(tensor: &FloatTensor<B>) -> BoolDType {
    burn::backend::get_or_init_device_settings::<B>(&tensor.device()).bool_dtype
}
