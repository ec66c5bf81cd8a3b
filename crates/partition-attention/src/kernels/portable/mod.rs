//! One unit owns one row; tiles of the other side pass through shared memory.
//!
//! Nothing is assumed about planes, and register arrays are indexed by compile-time constants only.

mod forward;
mod key_value_grad;
mod query_grad;
mod row_access;

use burn::backend::{DType, TensorMetadata};
use burn::tensor::Shape;
use burn_backend::cubecl::dtype_to_storage_type;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

use cubecl::prelude::*;

use super::problem::{BackwardInput, Sizes, readable};

pub(crate) use forward::forward;

/// Units of a cube, and rows of a tile that they own.
const TILE: usize = 64;
/// Shared memory of a cube, in bytes: what WebGPU promises everywhere.
const SHARED_BYTES: usize = 16 * 1024;

/// Elements that are read at once.
fn vector_size(sizes: &Sizes) -> usize {
    if sizes.head_dim.is_multiple_of(4) {
        4
    } else {
        1
    }
}

/// Rows of a tile in shared memory, when `n_tiles` tiles lie there at once.
fn shared_rows(sizes: &Sizes, n_tiles: usize) -> usize {
    let row_bytes = sizes.head_dim * size_of::<f32>();
    (SHARED_BYTES / (n_tiles * row_bytes)).clamp(1, TILE)
}

fn dtypes(query: &CubeTensor, segments: &CubeTensor) -> [ElemType; 2] {
    [query.dtype, segments.dtype].map(dtype_to_storage_type)
}

/// See [`crate::PartitionAttentionOps::partition_attention_backward`].
pub(crate) fn backward(input: BackwardInput) -> (CubeTensor, CubeTensor, CubeTensor) {
    let vector_size = vector_size(&Sizes::new(&input.query, &input.key));
    let input = input.readable(vector_size);
    let (query_grad, delta) = query_grad::query_grad(&input);
    let (key_grad, value_grad) = key_value_grad::key_value_grad(&input, delta);
    (query_grad, key_grad, value_grad)
}
