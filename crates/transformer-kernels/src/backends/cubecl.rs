#[cfg(feature = "cuda")]
use burn::backend::ops::FloatTensorOps;
#[cfg(feature = "cuda")]
use burn::backend::tensor::FloatTensor;
#[cfg(feature = "cuda")]
use burn::tensor::Shape;
#[cfg(feature = "cuda")]
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
#[cfg(feature = "cuda")]
use burn_cubecl::ops::numeric;

use crate::TransformerOps;
#[cfg(feature = "cuda")]
use crate::cublas;

impl TransformerOps for CubeBackend {
    #[cfg(feature = "cuda")]
    fn matrix_product_forward(
        left: FloatTensor<Self>,
        right: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if cublas::fits(&left, &right)
            && let Some(product) = cublas::matrix_product(left.clone(), right.clone(), None)
        {
            return product;
        }
        cublas::fallback(left, right)
    }

    #[cfg(feature = "cuda")]
    fn linear_forward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if cublas::fits(&input, &weight)
            && cublas::fits(&weight, &bias)
            && let Some(output) =
                cublas::matrix_product(input.clone(), weight.clone(), Some(bias.clone()))
        {
            return output;
        }
        let product = Self::matrix_product_forward(input, weight);
        <Self as FloatTensorOps<Self>>::float_add(product, bias)
    }

    #[cfg(feature = "cuda")]
    fn column_sums(matrix: FloatTensor<Self>) -> FloatTensor<Self> {
        // Burn's sums over rows take up to a hundred times the time of reading the matrix.
        let [n_rows, _] = matrix.shape().dims();
        let ones = numeric::ones(
            matrix.device.clone(),
            Shape::from([1, n_rows]),
            matrix.dtype,
        );
        if cublas::fits(&ones, &matrix)
            && let Some(sums) = cublas::matrix_product(ones, matrix.clone(), None)
        {
            return sums;
        }
        <Self as FloatTensorOps<Self>>::float_sum_dim(matrix, 0)
    }
}
