//! Matrix products by NVIDIA's cuBLASLt, in order with the kernels of the CUDA backend.
//!
//! The backend's kernels run on streams of its own, the products on one of ours: an event of the
//! whole context makes a product wait for everything that was enqueued before it, and another makes
//! everything that is enqueued afterwards wait for the product. The host waits for nothing.

mod library;
mod plan;

use burn::tensor::{DType, Shape};
use burn_backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use burn_cubecl::CubeDevice;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl_cuda::CudaRuntime;
use cubecl_runtime::runtime::Runtime;

use library::{Operands, is_present};
use plan::{Matrix, Product};

/// Of the address of a bias, in bytes, so that every kernel of the library can read it.
const BIAS_ALIGNMENT: u64 = 16;

type Server = <CudaRuntime as Runtime>::Server;

/// Whether these matrices can be multiplied here: on an NVIDIA GPU whose machine has cuBLASLt.
pub(crate) fn fits(left: &CubeTensor, right: &CubeTensor) -> bool {
    let has_elements = left.shape().num_elements() * right.shape().num_elements() > 0;
    let is_number = matches!(left.dtype, DType::F32 | DType::F16 | DType::BF16);
    let is_pair = is_number && left.dtype == right.dtype && has_elements;
    is_pair && matches!(left.device, CubeDevice::Cuda(_)) && is_present()
}

/// `[m, k] x [k, n]`, plus `[1, n]` in every row, or None if the library refuses the problem.
pub(crate) fn matrix_product(
    left: CubeTensor,
    right: CubeTensor,
    bias: Option<CubeTensor>,
) -> Option<CubeTensor> {
    let CubeDevice::Cuda(device) = &left.device else {
        return None;
    };
    let device_index = device.index;
    let [m, k] = left.shape().dims();
    let [_, n] = right.shape().dims();
    let (left, left_matrix) = readable(left);
    let (right, right_matrix) = readable(right);
    let bias = bias.map(into_contiguous);
    let client = left.client.clone();
    let output = empty_device_dtype(
        client.clone(),
        left.device.clone(),
        Shape::from([m, n]),
        left.dtype,
    );
    let output_row = output.meta.strides()[0];
    // Held until the product is enqueued.
    let resource = |tensor: &CubeTensor| {
        client
            .get_resource::<Server>(tensor.handle.clone())
            .expect("a tensor on this device has memory")
    };
    let resources = [&left, &right, &output].map(resource);
    let bias_resource = bias.as_ref().map(resource);
    let [left_pointer, right_pointer, output_pointer] =
        std::array::from_fn(|i| resources[i].resource().ptr);
    let product = Product {
        m,
        n,
        k,
        dtype: left.dtype,
        left: left_matrix,
        right: right_matrix,
        output_row,
        has_bias: bias_resource.is_some(),
        alignments: [left_pointer, right_pointer, output_pointer].map(plan::alignment),
    };
    let operands = Operands {
        left: left_pointer,
        right: right_pointer,
        output: output_pointer,
        bias: bias_resource.as_ref().map(|bias| bias.resource().ptr),
    };
    if operands.bias.is_some_and(|bias| bias % BIAS_ALIGNMENT != 0) {
        return None;
    }
    let outcome = client
        .exclusive(move || library::enqueue(device_index, product, operands))
        .expect("the device's thread runs");
    match outcome {
        Ok(()) => Some(output),
        Err(error) => {
            tracing::warn!(m, n, k, dtype = ?left.dtype, %error, "cuBLASLt refused a product; Burn's own is used");
            None
        }
    }
}

/// The tensor, or a copy of it if its strides are not those of a matrix by rows or columns.
fn readable(tensor: CubeTensor) -> (CubeTensor, Matrix) {
    let shape: [usize; 2] = tensor.shape().dims();
    let strides = tensor.meta.strides();
    if let Some(matrix) = Matrix::of(shape, [strides[0], strides[1]]) {
        return (tensor, matrix);
    }
    let tensor = into_contiguous(tensor);
    let matrix = Matrix {
        by_columns: false,
        leading: shape[1],
    };
    (tensor, matrix)
}

/// The product by Burn's own kernels.
pub(crate) fn fallback(left: CubeTensor, right: CubeTensor) -> CubeTensor {
    use burn::backend::ops::FloatTensorOps;
    <CubeBackend as FloatTensorOps<CubeBackend>>::float_matmul(left, right)
}
