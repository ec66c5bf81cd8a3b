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
    let a00 = u32::reinterpret(left[0]);
    let a01 = u32::reinterpret(left[1]);
    let a02 = u32::reinterpret(left[2]);
    let a03 = u32::reinterpret(left[3]);
    let a04 = u32::reinterpret(left[4]);
    let a05 = u32::reinterpret(left[5]);
    let a06 = u32::reinterpret(left[6]);
    let a07 = u32::reinterpret(left[7]);
    let a08 = u32::reinterpret(left[8]);
    let a09 = u32::reinterpret(left[9]);
    let a10 = u32::reinterpret(left[10]);
    let a11 = u32::reinterpret(left[11]);
    let a12 = u32::reinterpret(left[12]);
    let a13 = u32::reinterpret(left[13]);
    let a14 = u32::reinterpret(left[14]);
    let a15 = u32::reinterpret(left[15]);
    let right = descriptor(right);
    let result: Numbers;
    gpu_asm!(
        "{{ .reg .b64 b; .reg .pred first; .reg .pred next; ",
        "setp.ne.u64 first, {right}, {right}; setp.eq.u64 next, {right}, {right}; ",
        "mov.b64 b, {right}; wgmma.fence.sync.aligned; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} ",
        "{result}, {{{a00}, {a01}, {a02}, {a03}}}, b, first, 1, 1, 1; ",
        "add.s64 b, b, 128; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} ",
        "{result}, {{{a04}, {a05}, {a06}, {a07}}}, b, next, 1, 1, 1; ",
        "add.s64 b, b, 128; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} ",
        "{result}, {{{a08}, {a09}, {a10}, {a11}}}, b, next, 1, 1, 1; ",
        "add.s64 b, b, 128; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} ",
        "{result}, {{{a12}, {a13}, {a14}, {a15}}}, b, next, 1, 1, 1; ",
        "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; }}",
        a00 = in(_) a00, a01 = in(_) a01, a02 = in(_) a02, a03 = in(_) a03,
        a04 = in(_) a04, a05 = in(_) a05, a06 = in(_) a06, a07 = in(_) a07,
        a08 = in(_) a08, a09 = in(_) a09, a10 = in(_) a10, a11 = in(_) a11,
        a12 = in(_) a12, a13 = in(_) a13, a14 = in(_) a14, a15 = in(_) a15,
        right = in(_) right, result = out(_) result,
    );
    result
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
