//! Registers of `mma.sync.m16n8k16` and how they are filled from shared memory.
//!
//! A lane holds of a 16 x 8 accumulator the columns `2 (lane % 4)` and the next, in the rows
//! `lane / 4` and 8 below; of a 16 x 16 left operand the same for both halves of its columns.

use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::prelude::*;

/// Two numbers of a register.
pub(in crate::kernels) type Pair<E> = Vector<E, Const<2>>;
/// 16 bytes of half-precision numbers: what is read at once.
pub(in crate::kernels) type Chunk<E> = Vector<E, Const<8>>;
/// Accumulators of tiles with 16 rows and 8 columns, tile by tile.
pub(in crate::kernels) type Tiles = Sequence<Array<Pair<f32>>>;

/// Zeros.
#[cube]
pub(in crate::kernels) fn zero_tiles(#[comptime] n_tiles: usize) -> Tiles {
    let mut tiles = Sequence::new();
    #[unroll]
    for _ in 0..n_tiles {
        let mut tile = Array::<Pair<f32>>::new(2usize);
        tile[0] = Vector::new(0.0);
        tile[1] = Vector::new(0.0);
        tiles.push(tile);
    }
    tiles
}

/// Where chunk `chunk` of row `row` lies: neighbours are exchanged so that the rows of a matrix fall
/// into different banks.
#[cube]
pub(in crate::kernels) fn swizzled_index(
    row: usize,
    chunk: usize,
    #[comptime] chunks: usize,
) -> usize {
    if comptime![chunks == 4] {
        row * chunks + (chunk ^ ((row / 2) % 4))
    } else {
        row * chunks + (chunk ^ (row % 8))
    }
}

/// A left operand of 16 rows from `row` and 16 columns from `16 step`.
#[cube]
pub(in crate::kernels) fn load_left<E: Float>(
    shared: &Shared<[Chunk<E>]>,
    row: usize,
    #[comptime] step: usize,
    #[comptime] chunks: usize,
) -> Array<Pair<E>> {
    let lane = UNIT_POS_X as usize % 32;
    let at = swizzled_index(row + lane % 16, 2 * step + lane / 16, chunks);
    let mma = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    mma.load_matrix::<Chunk<E>, Const<2>>(&shared[at..at + 1], MatrixIdent::A, 4usize, false)
}

/// Right operands of two tiles: 16 rows of shared memory from `row` are their columns, and its
/// columns from `16 step` the dimension that is summed over.
#[cube]
pub(in crate::kernels) fn load_right<E: Float>(
    shared: &Shared<[Chunk<E>]>,
    row: usize,
    #[comptime] step: usize,
    #[comptime] chunks: usize,
) -> (Array<Pair<E>>, Array<Pair<E>>) {
    let lane = UNIT_POS_X as usize % 32;
    let at = swizzled_index(
        row + (lane / 16) * 8 + lane % 8,
        2 * step + (lane / 8) % 2,
        chunks,
    );
    let mma = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let all =
        mma.load_matrix::<Chunk<E>, Const<2>>(&shared[at..at + 1], MatrixIdent::B, 4usize, false);
    split(&all)
}

/// Right operands of two tiles: 16 rows of shared memory from `row` are summed over, and its columns
/// from `16 pair` are their columns.
#[cube]
pub(in crate::kernels) fn load_right_transposed<E: Float>(
    shared: &Shared<[Chunk<E>]>,
    row: usize,
    #[comptime] pair: usize,
    #[comptime] chunks: usize,
) -> (Array<Pair<E>>, Array<Pair<E>>) {
    let lane = UNIT_POS_X as usize % 32;
    let at = swizzled_index(
        row + ((lane / 8) % 2) * 8 + lane % 8,
        2 * pair + lane / 16,
        chunks,
    );
    let mma = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    let all =
        mma.load_matrix::<Chunk<E>, Const<2>>(&shared[at..at + 1], MatrixIdent::B, 4usize, true);
    split(&all)
}

#[cube]
fn split<E: Float>(all: &Array<Pair<E>>) -> (Array<Pair<E>>, Array<Pair<E>>) {
    let mut first = Array::<Pair<E>>::new(2usize);
    let mut second = Array::<Pair<E>>::new(2usize);
    first[0] = all[0];
    first[1] = all[1];
    second[0] = all[2];
    second[1] = all[3];
    (first, second)
}

/// Two tiles side by side, rounded, as the left operand of another product.
#[cube]
pub(in crate::kernels) fn as_left<E: Float>(
    first: &Array<Pair<f32>>,
    second: &Array<Pair<f32>>,
) -> Array<Pair<E>> {
    let mut left = Array::<Pair<E>>::new(4usize);
    left[0] = Vector::cast_from(first[0]);
    left[1] = Vector::cast_from(first[1]);
    left[2] = Vector::cast_from(second[0]);
    left[3] = Vector::cast_from(second[1]);
    left
}

/// `tile += left right`.
#[cube]
pub(in crate::kernels) fn multiply<E: Float>(
    left: &Array<Pair<E>>,
    right: &Array<Pair<E>>,
    tile: &mut Array<Pair<f32>>,
) {
    let mma = MmaDefinition::<E, E, f32>::new(16usize, 8usize, 16usize);
    mma.execute_inplace(left, right, tile);
}

/// `2^x`, within two units of the last place; numbers below 2^-126 become 0.
#[cube]
pub(in crate::kernels) fn exp2(x: f32) -> f32 {
    let result: f32;
    gpu_asm!("ex2.approx.ftz.f32 {}, {};", out(_) result, in(_) x, options(nomem));
    result
}
