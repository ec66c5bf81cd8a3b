//! What all kernels need on the host.

use burn::backend::TensorMetadata;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// `log2(e)`.
#[cfg(feature = "cuda")]
pub(super) const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// Sizes of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub query_len: usize,
    pub key_len: usize,
    pub heads: usize,
    pub head_dim: usize,
}

impl Sizes {
    pub fn new(query: &CubeTensor, key: &CubeTensor) -> Self {
        let [batch, query_len, heads, head_dim] = query.shape().dims();
        let [_, key_len, _, _] = key.shape().dims();
        Self {
            batch,
            query_len,
            key_len,
            heads,
            head_dim,
        }
    }

    /// A cube for each `tile` of `rows`, head and sequence.
    pub fn grid(&self, rows: usize, tile: usize) -> CubeCount {
        CubeCount::Static(
            rows.div_ceil(tile) as u32,
            self.heads as u32,
            self.batch as u32,
        )
    }

    pub fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// A tensor whose rows of `head_dim` numbers can be read as vectors where they lie; a copy otherwise.
pub(super) fn readable(tensor: CubeTensor, vector_size: usize) -> CubeTensor {
    let strides = tensor.meta.strides();
    let vector_bytes = (vector_size * tensor.elem_size()) as u64;
    let is_readable = strides[3] == 1
        && strides[..3]
            .iter()
            .all(|stride| stride.is_multiple_of(vector_size))
        && tensor
            .handle
            .offset_start
            .unwrap_or(0)
            .is_multiple_of(vector_bytes);
    if is_readable {
        tensor
    } else {
        into_contiguous(tensor)
    }
}

/// What the backward pass reads.
pub(crate) struct BackwardInput {
    pub query: CubeTensor,
    pub key: CubeTensor,
    pub value: CubeTensor,
    pub segments: CubeTensor,
    pub output: CubeTensor,
    pub log_sum_exp: CubeTensor,
    pub output_grad: CubeTensor,
}

impl BackwardInput {
    /// Each tensor in a form that kernels can read.
    pub fn readable(self, vector_size: usize) -> Self {
        Self {
            query: readable(self.query, vector_size),
            key: readable(self.key, vector_size),
            value: readable(self.value, vector_size),
            segments: into_contiguous(self.segments),
            output: readable(self.output, vector_size),
            log_sum_exp: into_contiguous(self.log_sum_exp),
            output_grad: readable(self.output_grad, vector_size),
        }
    }
}
