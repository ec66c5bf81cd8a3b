//! Rows of `head_dim` numbers: from memory to registers or shared memory, and back.

use cubecl::prelude::*;

/// Where the row of a head lies, in vectors.
#[cube]
pub(super) fn row_offset<E: Numeric, N: Size>(
    tensor: &Tensor<Vector<E, N>>,
    batch: usize,
    row: usize,
    head: usize,
    #[comptime] vector_size: usize,
) -> usize {
    (batch * tensor.stride(0) + row * tensor.stride(1) + head * tensor.stride(2)) / vector_size
}

/// A row in registers, times `factor`.
#[cube]
pub(super) fn load_row<E: Numeric, N: Size>(
    tensor: &Tensor<Vector<E, N>>,
    offset: usize,
    factor: f32,
    #[comptime] n_vectors: usize,
) -> Array<Vector<f32, N>> {
    let mut row = Array::<Vector<f32, N>>::new(n_vectors);
    #[unroll]
    for i in 0..n_vectors {
        row[i] = Vector::cast_from(tensor[offset + i]) * Vector::new(factor);
    }
    row
}

/// Zeros in registers.
#[cube]
pub(super) fn zero_row<N: Size>(#[comptime] n_vectors: usize) -> Array<Vector<f32, N>> {
    let mut row = Array::<Vector<f32, N>>::new(n_vectors);
    #[unroll]
    for i in 0..n_vectors {
        row[i] = Vector::new(0.0);
    }
    row
}

/// Registers, times `factor`, to memory.
#[cube]
pub(super) fn store_row<E: Numeric, N: Size>(
    tensor: &mut Tensor<Vector<E, N>>,
    batch: usize,
    row_index: usize,
    head: usize,
    row: &Array<Vector<f32, N>>,
    factor: f32,
    #[comptime] n_vectors: usize,
    #[comptime] vector_size: usize,
) {
    let offset =
        (batch * tensor.stride(0) + row_index * tensor.stride(1) + head * tensor.stride(2))
            / vector_size;
    #[unroll]
    for i in 0..n_vectors {
        tensor[offset + i] = Vector::cast_from(row[i] * Vector::new(factor));
    }
}

/// Some rows, times `factor`, in shared memory; all units of the cube take part.
#[cube]
pub(super) fn stage_rows<E: Numeric, N: Size>(
    tensor: &Tensor<Vector<E, N>>,
    shared: &mut Shared<[Vector<f32, N>]>,
    batch: usize,
    first_row: usize,
    n_rows: usize,
    head: usize,
    factor: f32,
    #[comptime] n_vectors: usize,
    #[comptime] vector_size: usize,
) {
    let mut i = UNIT_POS_X as usize;
    while i < n_rows * n_vectors {
        let row = i / n_vectors;
        let offset = row_offset(tensor, batch, first_row + row, head, vector_size);
        let vector = tensor[offset + i % n_vectors];
        shared[i] = Vector::cast_from(vector) * Vector::new(factor);
        i += CUBE_DIM_X as usize;
    }
}

/// The product of a row in registers and one in shared memory.
#[cube]
pub(super) fn dot<N: Size>(
    row: &Array<Vector<f32, N>>,
    shared: &Shared<[Vector<f32, N>]>,
    shared_row: usize,
    #[comptime] n_vectors: usize,
    #[comptime] vector_size: usize,
) -> f32 {
    let mut sums = Vector::<f32, N>::new(0.0);
    #[unroll]
    for i in 0..n_vectors {
        sums += row[i] * shared[shared_row * n_vectors + i];
    }
    sum(sums, vector_size)
}

/// The sum of a vector's elements.
#[cube]
pub(super) fn sum<N: Size>(vector: Vector<f32, N>, #[comptime] vector_size: usize) -> f32 {
    let mut total = vector.extract(0usize);
    #[unroll]
    for i in 1..vector_size {
        total += vector.extract(i);
    }
    total
}

/// Adds a row in shared memory, times `factor`, to one in registers.
#[cube]
pub(super) fn add_row<N: Size>(
    row: &mut Array<Vector<f32, N>>,
    shared: &Shared<[Vector<f32, N>]>,
    shared_row: usize,
    factor: f32,
    #[comptime] n_vectors: usize,
) {
    let factor = Vector::<f32, N>::new(factor);
    #[unroll]
    for i in 0..n_vectors {
        row[i] += factor * shared[shared_row * n_vectors + i];
    }
}
