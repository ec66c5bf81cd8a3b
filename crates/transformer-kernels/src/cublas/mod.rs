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
use cubecl_common::device::Device;
use cubecl_common::device_handle::DeviceHandle;

use library::{Operands, Server, is_present};
use plan::{Matrix, Product};

/// Of the address of a bias, in bytes, so that every kernel of the library can read it.
const BIAS_ALIGNMENT: u32 = 16;

/// Whether these matrices can be multiplied here: on an NVIDIA GPU whose machine has cuBLASLt.
pub(crate) fn fits(left: &CubeTensor, right: &CubeTensor) -> bool {
    let has_elements = left.shape().num_elements() * right.shape().num_elements() > 0;
    let is_number = matches!(left.dtype, DType::F32 | DType::F16 | DType::BF16);
    let is_pair = is_number && left.dtype == right.dtype && has_elements;
    is_pair && matches!(left.device, CubeDevice::Cuda(_)) && is_present()
}

/// `[m, k] x [k, n]`, plus `[1, n]` in every row, or None if the library has no kernel for the problem.
///
/// The calling thread only asks for a plan and allocates the output. Addresses are looked up and the product is
/// enqueued on the device's thread, after everything submitted before; nobody waits for that.
///
/// # Panics
/// Panics if an earlier product could not be enqueued.
pub(crate) fn matrix_product(
    left: CubeTensor,
    right: CubeTensor,
    bias: Option<CubeTensor>,
) -> Option<CubeTensor> {
    let CubeDevice::Cuda(device) = left.device.clone() else {
        return None;
    };
    library::panic_after_failure();
    let [m, k] = left.shape().dims();
    let [_, n] = right.shape().dims();
    let (left, left_matrix) = readable(left);
    let (right, right_matrix) = readable(right);
    let bias = bias.map(into_contiguous);
    if bias
        .as_ref()
        .is_some_and(|bias| alignment(bias) < BIAS_ALIGNMENT)
    {
        return None;
    }
    let output = empty_device_dtype(
        left.client.clone(),
        left.device.clone(),
        Shape::from([m, n]),
        left.dtype,
    );
    let product = Product {
        m,
        n,
        k,
        dtype: left.dtype,
        left: left_matrix,
        right: right_matrix,
        output_row: output.meta.strides()[0],
        has_bias: bias.is_some(),
        alignments: [&left, &right, &output].map(alignment),
    };
    if !library::has_plan(device.index, &product) {
        return None;
    }
    let operands = Operands {
        left: left.handle.binding(),
        right: right.handle.binding(),
        output: output.handle.clone().binding(),
        bias: bias.map(|bias| bias.handle.binding()),
    };
    DeviceHandle::<Server>::new(device.to_id())
        .submit(move |server| library::enqueue(server, device.index, product, operands));
    Some(output)
}

/// A power of two, in bytes, that surely divides the tensor's address: CubeCL's memory begins at multiples of 512, and
/// only the offset of a view can be less even.
fn alignment(tensor: &CubeTensor) -> u32 {
    plan::alignment(tensor.handle.offset_start.unwrap_or(0))
}

/// The tensor, or a copy of it if its strides are not those of a matrix by rows or columns.
fn readable(tensor: CubeTensor) -> (CubeTensor, Matrix) {
    let shape: [usize; 2] = tensor.shape().dims();
    let strides = tensor.meta.strides();
    if let Some(matrix) = Matrix::from_strides(shape, [strides[0], strides[1]]) {
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
