//! Half precision on Hopper GPUs, heads of 64: products of whole warpgroups (`wgmma`), which read
//! shared memory themselves and run at twice the rate of [`super::tensor_core`]'s.

mod forward;
mod key_value_grad;
mod query_grad;
mod wgmma;

use std::sync::OnceLock;

use burn::backend::DType;
use burn::tensor::Shape;
use burn_backend::TensorMetadata;
use burn_cubecl::CubeDevice;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cudarc::driver::result::device;
use cudarc::driver::sys::CUdevice_attribute;

use super::problem::{BackwardInput, LOG2_E, Sizes, readable};
use super::tensor_core::{self, dtypes};

pub(crate) use forward::forward;

/// Size of a head.
const HEAD_DIM: usize = 64;
/// 16 bytes each, in a row.
const CHUNKS: usize = HEAD_DIM / 8;
/// Units of a cube: a warpgroup. More of them would share tiles, and wait for each other.
const UNITS: usize = 128;
/// Of matrices in shared memory, in bytes: where the pattern of their places repeats.
const ALIGNMENT: usize = 1024;

/// The data type of the operands of a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum OperandDtype {
    F16,
    Bf16,
}

impl OperandDtype {
    fn from_dtype(dtype: DType) -> Self {
        match dtype {
            DType::BF16 => Self::Bf16,
            _ => Self::F16,
        }
    }

    fn ptx(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

/// Whether these kernels can work on a tensor like this, `[batch, seq, heads, head_dim]`.
pub(crate) fn fits(query: &CubeTensor) -> bool {
    let [_, _, _, head_dim] = query.shape().dims();
    match &query.device {
        CubeDevice::Cuda(device) => {
            head_dim == HEAD_DIM && tensor_core::fits(query) && is_hopper(device.index)
        }
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

/// Whether the device has compute capability 9: `wgmma` came with it and went with the next.
fn is_hopper(index: usize) -> bool {
    static ANSWERS: [OnceLock<bool>; 16] = [const { OnceLock::new() }; 16];
    let ask = || {
        let major = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
        device::get(index as i32)
            // SAFETY: the device is one that the driver has just named.
            .and_then(|device| unsafe { device::get_attribute(device, major) })
            .is_ok_and(|major| major == 9)
    };
    ANSWERS
        .get(index)
        .is_some_and(|answer| *answer.get_or_init(ask))
}

/// See [`crate::PartitionAttentionOps::partition_attention_backward`].
pub(crate) fn backward(input: BackwardInput) -> (CubeTensor, CubeTensor, CubeTensor) {
    let input = input.readable(8);
    let (query_grad, delta) = query_grad::query_grad(&input);
    let (key_grad, value_grad) = key_value_grad::key_value_grad(&input, delta);
    (query_grad, key_grad, value_grad)
}
