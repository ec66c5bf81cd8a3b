#[cfg(feature = "cuda")]
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

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
            && let Some(product) = cublas::matrix_product(left.clone(), right.clone())
        {
            return product;
        }
        cublas::fallback(left, right)
    }
}
