//! Products of 64 x 64 matrices by a warpgroup (`wgmma`, four planes), with sums in registers.
//!
//! Matrices in shared memory have 64 rows of 64 numbers, in the places of
//! [`crate::kernels::tensor_core::fragments::swizzled_index`], which is the hardware's swizzle of 128 bytes.
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
pub(super) fn fence_async_proxy() {
    gpu_asm!("fence.proxy.async.shared::cta;");
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

/// Adds `left right` to sums, of a matrix in registers and one in shared memory.
///
/// The sums are copied to the operands of the result, `%0` to `%31`, which the assembler makes the
/// same registers.
#[cube]
pub(super) fn add_product_of_rows<E: Float>(
    sums: &mut Array<f32>,
    left: &Array<Pair<E>>,
    right: u32,
    #[comptime] format: &str,
) {
    let right = descriptor(right);
    let result: Numbers;
    gpu_asm!(
        "{{ .reg .b64 b; .reg .pred next; setp.eq.u64 next, {right}, {right}; mov.b64 b, {right}; ",
        "mov.f32 %0, {s00}; mov.f32 %1, {s01}; mov.f32 %2, {s02}; mov.f32 %3, {s03}; ",
        "mov.f32 %4, {s04}; mov.f32 %5, {s05}; mov.f32 %6, {s06}; mov.f32 %7, {s07}; ",
        "mov.f32 %8, {s08}; mov.f32 %9, {s09}; mov.f32 %10, {s10}; mov.f32 %11, {s11}; ",
        "mov.f32 %12, {s12}; mov.f32 %13, {s13}; mov.f32 %14, {s14}; mov.f32 %15, {s15}; ",
        "mov.f32 %16, {s16}; mov.f32 %17, {s17}; mov.f32 %18, {s18}; mov.f32 %19, {s19}; ",
        "mov.f32 %20, {s20}; mov.f32 %21, {s21}; mov.f32 %22, {s22}; mov.f32 %23, {s23}; ",
        "mov.f32 %24, {s24}; mov.f32 %25, {s25}; mov.f32 %26, {s26}; mov.f32 %27, {s27}; ",
        "mov.f32 %28, {s28}; mov.f32 %29, {s29}; mov.f32 %30, {s30}; mov.f32 %31, {s31}; ",
        "wgmma.fence.sync.aligned; ",
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.{format}.{format} ",
        "{result}, {{{a00}, {a01}, {a02}, {a03}}}, b, next, 1, 1, 1; ",
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
        a00 = in(_) u32::reinterpret(left[0]),
        a01 = in(_) u32::reinterpret(left[1]),
        a02 = in(_) u32::reinterpret(left[2]),
        a03 = in(_) u32::reinterpret(left[3]),
        a04 = in(_) u32::reinterpret(left[4]),
        a05 = in(_) u32::reinterpret(left[5]),
        a06 = in(_) u32::reinterpret(left[6]),
        a07 = in(_) u32::reinterpret(left[7]),
        a08 = in(_) u32::reinterpret(left[8]),
        a09 = in(_) u32::reinterpret(left[9]),
        a10 = in(_) u32::reinterpret(left[10]),
        a11 = in(_) u32::reinterpret(left[11]),
        a12 = in(_) u32::reinterpret(left[12]),
        a13 = in(_) u32::reinterpret(left[13]),
        a14 = in(_) u32::reinterpret(left[14]),
        a15 = in(_) u32::reinterpret(left[15]),
        s00 = in(_) sums[0],
        s01 = in(_) sums[1],
        s02 = in(_) sums[2],
        s03 = in(_) sums[3],
        s04 = in(_) sums[4],
        s05 = in(_) sums[5],
        s06 = in(_) sums[6],
        s07 = in(_) sums[7],
        s08 = in(_) sums[8],
        s09 = in(_) sums[9],
        s10 = in(_) sums[10],
        s11 = in(_) sums[11],
        s12 = in(_) sums[12],
        s13 = in(_) sums[13],
        s14 = in(_) sums[14],
        s15 = in(_) sums[15],
        s16 = in(_) sums[16],
        s17 = in(_) sums[17],
        s18 = in(_) sums[18],
        s19 = in(_) sums[19],
        s20 = in(_) sums[20],
        s21 = in(_) sums[21],
        s22 = in(_) sums[22],
        s23 = in(_) sums[23],
        s24 = in(_) sums[24],
        s25 = in(_) sums[25],
        s26 = in(_) sums[26],
        s27 = in(_) sums[27],
        s28 = in(_) sums[28],
        s29 = in(_) sums[29],
        s30 = in(_) sums[30],
        s31 = in(_) sums[31],
        right = in(_) right, result = out(_) result,
    );
    #[unroll]
    for i in 0..32usize {
        sums[i] = result.extract(i);
    }
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
