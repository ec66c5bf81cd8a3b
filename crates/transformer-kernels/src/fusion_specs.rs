//! Shapes and types of outputs, for backends that record operations before they run them.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::Shape;

/// Of the sums of columns.
pub(crate) fn column_sums(matrix: &TensorSpec) -> TensorSpec {
    let [_, n_columns] = matrix.shape.dims();
    let mut sums = matrix.clone();
    sums.shape = Shape::from([1, n_columns]);
    sums
}

/// Of a linear layer.
pub(crate) fn linear(input: &TensorSpec, weight: &TensorSpec, _bias: &TensorSpec) -> TensorSpec {
    matrix_product(input, weight)
}

/// Of a product of two matrices.
pub(crate) fn matrix_product(left: &TensorSpec, right: &TensorSpec) -> TensorSpec {
    let [n_rows, _] = left.shape.dims();
    let [_, n_columns] = right.shape.dims();
    let mut product = left.clone();
    product.shape = Shape::from([n_rows, n_columns]);
    product
}
