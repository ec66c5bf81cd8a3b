//! Half precision on the tensor cores of NVIDIA GPUs, from Ampere on.
//!
//! Written with CubeCL's `mma`, `ldmatrix` and `cp.async`. A plane owns whole rows of scores, so that
//! weights go from the accumulators of one product to the operands of the next in registers.

pub(super) mod async_copy;
mod forward;
pub(super) mod fragments;
mod key_value_grad;
mod query_grad;

use std::sync::Once;

use burn::backend::DType;
use burn::tensor::Shape;
use burn_backend::TensorMetadata;
use burn_backend::cubecl::dtype_to_storage_type;
use burn_cubecl::CubeDevice;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::features::MmaConfig;
use cubecl::prelude::*;

use super::problem::{BackwardInput, LOG2_E, Sizes, readable};

pub(crate) use forward::forward;

/// Whether these kernels can work on a tensor like this, `[batch, seq, heads, head_dim]`. Where they
/// cannot, half precision on an NVIDIA GPU gets one warning.
pub(crate) fn fits(query: &CubeTensor) -> bool {
    static WARNING: Once = Once::new();
    let is_half = matches!(query.dtype, DType::F16 | DType::BF16);
    if !is_half || !matches!(query.device, CubeDevice::Cuda(_)) {
        return false;
    }
    let [_, _, _, head_dim] = query.shape().dims();
    let has_tensor_cores = has_tensor_cores(query);
    let fits = has_tensor_cores && matches!(head_dim, 32 | 64 | 128);
    if !fits {
        WARNING.call_once(|| {
            tracing::warn!(
                head_dim,
                has_tensor_cores,
                "attention takes the portable kernel; tensor cores need Ampere or newer and heads of 32, 64 or 128"
            );
        });
    }
    fits
}

/// Whether the device has the instructions that are used.
fn has_tensor_cores(query: &CubeTensor) -> bool {
    let elem = dtype_to_storage_type(query.dtype);
    let features = query.client.features();
    let mma = MmaConfig {
        a_type: elem.into(),
        b_type: elem.into(),
        cd_type: dtype_to_storage_type(DType::F32).into(),
        m: 16,
        n: 8,
        k: 16,
    };
    features.copy_async && features.matmul.mma.contains(&mma)
}

/// How a backward kernel divides its work, as far as registers suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tiling {
    /// Tiles of 16 rows that a plane owns: with two, shared memory is read half as often.
    halves: usize,
    /// Rows in shared memory at a time, besides as many that are on their way.
    rows: usize,
    /// Rows of them that are worked on at once.
    part: usize,
}

impl Tiling {
    fn of_query_grad(head_dim: usize) -> Self {
        let (halves, rows, part) = if head_dim <= 64 {
            (2, 64, 32)
        } else {
            (1, 32, 32)
        };
        Self { halves, rows, part }
    }

    fn of_key_value_grad(head_dim: usize) -> Self {
        let (halves, rows, part) = if head_dim <= 64 {
            (2, 64, 16)
        } else {
            (1, 32, 32)
        };
        Self { halves, rows, part }
    }

    /// Units of a cube that owns `n_rows` rows.
    fn n_units(&self, n_rows: usize) -> u32 {
        (n_rows / (16 * self.halves) * 32) as u32
    }
}

pub(super) fn dtypes(query: &CubeTensor, segments: &CubeTensor) -> [ElemType; 2] {
    [query.dtype, segments.dtype].map(dtype_to_storage_type)
}

/// See [`crate::PartitionAttentionOps::partition_attention_backward`].
pub(crate) fn backward(input: BackwardInput) -> (CubeTensor, CubeTensor, CubeTensor) {
    let input = input.readable(8);
    let (query_grad, delta) = query_grad::query_grad(&input);
    let (key_grad, value_grad) = key_value_grad::key_value_grad(&input, delta);
    (query_grad, key_grad, value_grad)
}
