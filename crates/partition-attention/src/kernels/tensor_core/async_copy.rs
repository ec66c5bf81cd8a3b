//! Tiles of rows from memory to shared memory, without registers in between.

use cubecl::prelude::barrier::copy_async;
use cubecl::prelude::*;

use super::fragments::{Chunk, swizzled_index};

/// Starts copying `n_rows` rows from `first_row` to the places from `shared_row` on. Rows behind
/// `last_row` are copies of it. All units of the cube take part. `shared_row` is a multiple of 8.
#[cube]
pub(in crate::kernels) fn copy_rows<E: Float>(
    tensor: &Tensor<Chunk<E>>,
    shared: &mut Shared<[Chunk<E>]>,
    shared_row: usize,
    batch: usize,
    head: usize,
    first_row: usize,
    last_row: usize,
    #[comptime] n_rows: usize,
    #[comptime] chunks: usize,
    #[comptime] n_units: usize,
) {
    let base = (batch * tensor.stride(0) + head * tensor.stride(2)) / 8;
    let row_stride = tensor.stride(1) / 8;
    let unit = UNIT_POS_X as usize;
    let chunk = unit % chunks;
    // Places of the rows that the units copy at once repeat, if these are a multiple of 8.
    let repeats = comptime![n_units / chunks % 8 == 0];
    let first = shared_row * chunks + swizzled_index(unit / chunks, chunk, chunks);
    #[unroll]
    for i in 0..n_rows * chunks / n_units {
        let row = unit / chunks + i * (n_units / chunks);
        let from = base + min(first_row + row, last_row) * row_stride + chunk;
        let mut to = first + i * n_units;
        if comptime![!repeats] {
            to = swizzled_index(shared_row + row, chunk, chunks);
        }
        copy_async(&tensor[from..from + 1], &mut shared[to..to + 1], 8u32);
    }
}

/// Starts copying one number a row, of `n_rows` rows from `first_row`; rows behind `last_row` get the
/// number of that row. The first `n_rows` units of the cube take part.
#[cube]
pub(in crate::kernels) fn copy_row_sums(
    sums: &Tensor<f32>,
    shared: &mut Shared<[f32]>,
    shared_row: usize,
    base: usize,
    first_row: usize,
    last_row: usize,
    #[comptime] n_rows: usize,
) {
    let unit = UNIT_POS_X as usize;
    if unit < n_rows {
        let from = base + min(first_row + unit, last_row);
        let to = shared_row + unit;
        copy_async(&sums[from..from + 1], &mut shared[to..to + 1], 1u32);
    }
}

/// Ends a group of copies.
#[cube]
pub(in crate::kernels) fn cp_async_commit() {
    gpu_asm!("cp.async.commit_group;");
}

/// Waits until at most `n_pending` groups of this unit's copies are under way.
#[cube]
pub(in crate::kernels) fn cp_async_wait(#[comptime] n_pending: usize) {
    gpu_asm!("cp.async.wait_group {n};", n = const n_pending);
}
