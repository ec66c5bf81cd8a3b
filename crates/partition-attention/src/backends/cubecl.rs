use burn::backend::DType;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;

use crate::kernels::{BackwardInput, portable};
#[cfg(feature = "cuda")]
use crate::kernels::{tensor_core, warpgroup};
use crate::{PartitionAttentionOps, reference};

impl PartitionAttentionOps for CubeBackend {
    fn partition_attention_forward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        segments: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        #[cfg(feature = "cuda")]
        if warpgroup::fits(&query) {
            return warpgroup::forward(query, key, value, segments);
        }
        #[cfg(feature = "cuda")]
        if tensor_core::fits(&query) {
            return tensor_core::forward(query, key, value, segments);
        }
        if query.dtype == DType::F64 {
            return reference::forward::<Self>(query, key, value, segments);
        }
        portable::forward(query, key, value, segments)
    }

    fn partition_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        segments: IntTensor<Self>,
        output: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if query.dtype == DType::F64 {
            return reference::backward::<Self>(
                query,
                key,
                value,
                segments,
                output,
                log_sum_exp,
                output_grad,
            );
        }
        let input = BackwardInput {
            query,
            key,
            value,
            segments,
            output,
            log_sum_exp,
            output_grad,
        };
        #[cfg(feature = "cuda")]
        if warpgroup::fits(&input.query) {
            return warpgroup::backward(input);
        }
        #[cfg(feature = "cuda")]
        if tensor_core::fits(&input.query) {
            return tensor_core::backward(input);
        }
        portable::backward(input)
    }
}
