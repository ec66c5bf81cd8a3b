//! Shapes and types of outputs, for backends that record operations before they run them.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::{DType, Shape};

/// Of the output and the log-sum-exp.
pub(crate) fn forward(
    query: &TensorSpec,
    _key: &TensorSpec,
    _value: &TensorSpec,
    _segments: &TensorSpec,
) -> (TensorSpec, TensorSpec) {
    let [batch, query_len, heads, _] = query.shape.dims();
    let mut log_sum_exp = query.clone();
    log_sum_exp.shape = Shape::from([batch, heads, query_len, 1]);
    log_sum_exp.dtype = match query.dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    (query.clone(), log_sum_exp)
}

/// Of the gradients of query, key and value.
pub(crate) fn backward(
    query: &TensorSpec,
    key: &TensorSpec,
    value: &TensorSpec,
    _segments: &TensorSpec,
    _output: &TensorSpec,
    _log_sum_exp: &TensorSpec,
    _output_grad: &TensorSpec,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    (query.clone(), key.clone(), value.clone())
}
