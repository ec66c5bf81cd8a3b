//! Rectangles as kernels read them.

use cubecl::prelude::*;

/// A rectangle of the attention matrix: ends are behind the last row.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Rectangle {
    pub query_start: usize,
    pub query_end: usize,
    pub key_start: usize,
    pub key_end: usize,
}

/// Rectangle `index` of a sequence; `segments` is contiguous, `[batch, n_segments, 4]`.
#[cube]
pub(crate) fn rectangle<I: Numeric>(segments: &Tensor<I>, batch: usize, index: usize) -> Rectangle {
    let base = (batch * segments.shape(1) + index) * 4;
    let query_start = u32::cast_from(segments[base]) as usize;
    let key_start = u32::cast_from(segments[base + 2]) as usize;
    Rectangle {
        query_start,
        query_end: query_start + u32::cast_from(segments[base + 1]) as usize,
        key_start,
        key_end: key_start + u32::cast_from(segments[base + 3]) as usize,
    }
}
