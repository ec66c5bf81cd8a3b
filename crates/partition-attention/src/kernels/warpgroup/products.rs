//! Products of 64 x 64 matrices by a warpgroup (`wgmma`, four planes), with sums in registers.
//!
//! Matrices in shared memory have 64 rows of 64 numbers, in the places of
//! [`crate::kernels::tensor_core::fragments::place`], which is the hardware's swizzle of 128 bytes.
//! Plane `w` of the four holds the rows `16 w` to `16 w + 15` of a result, each lane as in
//! `mma.sync.m16n8k16`: of the 8 columns from `8 n`, its numbers `4 n` and `4 n + 1` are columns
//! `2 (lane % 4)` and the next in row `lane / 4`, the two after them the same 8 rows below.
//!
//! Every function waits for its result, so that no register is in flight outside of it; other
//! warpgroups of the multiprocessor fill the time.

use cubecl::prelude::*;

use crate::kernels::tensor_core::fragments::{Chunk, Pair};

/// What a lane holds of a 64 x 64 matrix.
pub(super) type Numbers = Vector<f32, Const<32>>;
/// What a lane holds of a left operand with 16 columns: four pairs.
type Left = Vector<u32, Const<4>>;

/// Bytes of a matrix in shared memory.
pub(super) const MATRIX_BYTES: u32 = 64 * 128;

/// The address of the first matrix of shared memory that is aligned to 1024 bytes.
#[cube]
pub(super) fn address<E: Float>(shared: &Shared<[Chunk<E>]>) -> u32 {
    let pointer = shared.as_ptr();
    let address: u32;
    gpu_asm!(
        "{{ .reg .u64 wide; cvta.to.shared.u64 wide, {from}; cvt.u32.u64 {to}, wide; }}",
        from = in(_) pointer, to = out(_) address, options(nomem),
    );
    address
}

/// The descriptor of a matrix: its address, 1024 bytes from 8 rows to the next, swizzled by 128 bytes.
#[cube]
fn descriptor(address: u32) -> u64 {
    u64::cast_from((address & 0x3FFFF) >> 4) | 0x4000_0040_0001_0000u64
}

/// Makes what this unit copied to shared memory visible to the products. A barrier must follow.
#[cube]
pub(super) fn publish() {
    gpu_asm!("fence.proxy.async;");
}

/// `left right^T` of two matrices in shared memory.
#[cube]
pub(super) fn product(left: u32, right: u32, #[comptime] format: &str) -> Numbers {
    let left = descriptor(left);
    let right = descriptor(right);
    let result: Numbers;
    gpu_asm!(
        "{{ .reg .b64 a; .reg .b64 b; .reg .pred first; .reg .pred next; ",
        "setp.ne.u64 first, {left}, {left}; setp.eq.u64 next, {left}, {left}; ",
        "mov.b64 a, {left}; mov.b64 b, {right}; wgmma.fence.sync.aligned; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} {result}, a, b, first, 1, 1, 0, 0; ",
        "add.s64 a, a, 2; add.s64 b, b, 2; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} {result}, a, b, next, 1, 1, 0, 0; ",
        "add.s64 a, a, 2; add.s64 b, b, 2; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} {result}, a, b, next, 1, 1, 0, 0; ",
        "add.s64 a, a, 2; add.s64 b, b, 2; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} {result}, a, b, next, 1, 1, 0, 0; ",
        "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; }}",
        left = in(_) left, right = in(_) right, result = out(_) result,
    );
    result
}

/// `left right` of a matrix in registers and one in shared memory.
#[cube]
pub(super) fn product_of_rows<E: Float>(
    left: &Array<Pair<E>>,
    right: u32,
    #[comptime] format: &str,
) -> Numbers {
    let left_0 = left_operand::<E>(left, 0usize);
    let left_1 = left_operand::<E>(left, 1usize);
    let left_2 = left_operand::<E>(left, 2usize);
    let left_3 = left_operand::<E>(left, 3usize);
    let right = descriptor(right);
    let result: Numbers;
    gpu_asm!(
        "{{ .reg .b64 b; .reg .pred first; .reg .pred next; ",
        "setp.ne.u64 first, {right}, {right}; setp.eq.u64 next, {right}, {right}; ",
        "mov.b64 b, {right}; wgmma.fence.sync.aligned; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} {result}, {left_0}, b, first, 1, 1, 1; ",
        "add.s64 b, b, 128; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} {result}, {left_1}, b, next, 1, 1, 1; ",
        "add.s64 b, b, 128; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} {result}, {left_2}, b, next, 1, 1, 1; ",
        "add.s64 b, b, 128; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} {result}, {left_3}, b, next, 1, 1, 1; ",
        "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; }}",
        left_0 = in(_) left_0, left_1 = in(_) left_1, left_2 = in(_) left_2, left_3 = in(_) left_3,
        right = in(_) right, result = out(_) result,
    );
    result
}

/// Columns `16 step` to `16 step + 15` of a matrix in registers.
#[cube]
fn left_operand<E: Float>(numbers: &Array<Pair<E>>, #[comptime] step: usize) -> Left {
    let mut left = Left::new(0u32);
    #[unroll]
    for i in 0..4usize {
        left.insert(i, u32::reinterpret(numbers[4 * step + i]));
    }
    left
}

/// A matrix of zeros.
#[cube]
pub(super) fn zeros() -> Array<f32> {
    let mut sums = Array::<f32>::new(32usize);
    #[unroll]
    for i in 0..32usize {
        sums[i] = f32::new(0.0);
    }
    sums
}

/// Adds to sums.
#[cube]
pub(super) fn add(sums: &mut Array<f32>, numbers: Numbers) {
    #[unroll]
    for i in 0..32usize {
        sums[i] += numbers.extract(i);
    }
}
