//! The CPU body for float32: each segment is a dense attention of its own, so that blocked pairs
//! cost nothing; matrix products read the strided inputs directly.

use burn::backend::{
    Flex,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Shape};
use burn_flex::FlexTensor;
use multiversion::multiversion;
use rayon::prelude::*;
use transformer_kernels::cpu_math::exp;

use crate::{PartitionAttentionOps, Segment, reference};

impl PartitionAttentionOps for Flex {
    fn partition_attention_forward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        segments: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if query.dtype() != DType::F32 {
            return reference::forward::<Self>(query, key, value, segments);
        }
        forward(&query, &key, &value, &segments)
    }

    fn partition_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        segments: IntTensor<Self>,
        output: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if query.dtype() != DType::F32 {
            return reference::backward::<Self>(
                query,
                key,
                value,
                segments,
                output,
                log_sum_exp,
                output_grad,
            );
        }
        backward(
            &[&query, &key, &value, &output, &output_grad],
            &segments,
            &log_sum_exp,
        )
    }
}

fn forward(
    query: &FlexTensor,
    key: &FlexTensor,
    value: &FlexTensor,
    segments: &FlexTensor,
) -> (FlexTensor, FlexTensor) {
    let [batch, query_len, heads, head_dim] = dims(query);
    let segments = read_segments(segments);
    let mut output = zeros([batch, query_len, heads, head_dim]);
    let mut log_sum_exp = FlexTensor::filled_typed(
        Shape::from([batch, heads, query_len, 1]),
        DType::F32,
        f32::NEG_INFINITY,
    );
    let scale = 1.0 / (head_dim as f32).sqrt();
    let inputs = [query, key, value].map(Heads::new);
    let out = SharedHeads::new(&mut output);
    log_sum_exp
        .storage_mut::<f32>()
        .par_chunks_mut(query_len.max(1))
        .enumerate()
        .for_each(|(row, log_sum_exp)| {
            let (b, h) = (row / heads, row % heads);
            let mut scores = Vec::new();
            for s in segments[b].iter().filter(|s| !is_empty(s)) {
                let [q, k, v] = [
                    inputs[0].rows(b, h, s.query_start, s.query_len),
                    inputs[1].rows(b, h, s.key_start, s.key_len),
                    inputs[2].rows(b, h, s.key_start, s.key_len),
                ];
                scores.resize(s.query_len * s.key_len, 0.0);
                let scores = scores.as_mut_slice();
                // SAFETY: `scores` is not shared.
                unsafe { multiply(q, k.transposed(), Matrix::dense(scores, s.key_len), scale) };
                let lse = &mut log_sum_exp[s.query_start..s.query_start + s.query_len];
                for (row, lse) in scores.chunks_exact_mut(s.key_len).zip(lse) {
                    *lse = softmax(row);
                }
                let o = out.rows(b, h, s.query_start, s.query_len);
                // SAFETY: this thread alone writes head `h` of sequence `b`.
                unsafe { multiply(Matrix::dense(scores, s.key_len), v, o, 1.0) };
            }
        });
    (output, log_sum_exp)
}

fn backward(
    inputs: &[&FlexTensor; 5],
    segments: &FlexTensor,
    log_sum_exp: &FlexTensor,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [batch, query_len, heads, head_dim] = dims(inputs[0]);
    let segments = read_segments(segments);
    let mut grads = [inputs[0], inputs[1], inputs[2]].map(|x| zeros(dims(x)));
    let log_sum_exp = log_sum_exp.to_contiguous();
    let log_sum_exp: &[f32] = log_sum_exp
        .as_slice()
        .expect("a contiguous float32 tensor has a slice");
    let scale = 1.0 / (head_dim as f32).sqrt();
    let inputs = inputs.map(Heads::new);
    let [dq, dk, dv] = grads.each_mut().map(SharedHeads::new);
    (0..batch * heads).into_par_iter().for_each(|row| {
        let (b, h) = (row / heads, row % heads);
        let (mut weights, mut weights_grad) = (Vec::new(), Vec::new());
        for s in segments[b].iter().filter(|s| !is_empty(s)) {
            let at_queries = |i: usize| inputs[i].rows(b, h, s.query_start, s.query_len);
            let at_keys = |i: usize| inputs[i].rows(b, h, s.key_start, s.key_len);
            let (q, o, d_o) = (at_queries(0), at_queries(3), at_queries(4));
            let (k, v) = (at_keys(1), at_keys(2));
            let n = s.query_len * s.key_len;
            weights.resize(n, 0.0);
            weights_grad.resize(n, 0.0);
            let p = Matrix::dense(&mut weights, s.key_len);
            let ds = Matrix::dense(&mut weights_grad, s.key_len);
            // SAFETY: the buffers are this thread's own.
            unsafe {
                multiply(q, k.transposed(), p, scale);
                multiply(d_o, v.transposed(), ds, 1.0);
            }
            for i in 0..s.query_len {
                let lse = log_sum_exp[row * query_len + s.query_start + i];
                let delta = o.dot_row(&d_o, i, head_dim);
                let range = i * s.key_len..(i + 1) * s.key_len;
                let (weights, grads) = (&mut weights[range.clone()], &mut weights_grad[range]);
                softmax_backward(weights, grads, lse, delta);
            }
            // SAFETY: this thread alone writes head `h` of sequence `b`, and queries and keys of
            // different segments may meet only in `dk` and `dv`, which are added to.
            unsafe {
                multiply(ds, k, dq.rows(b, h, s.query_start, s.query_len), scale);
                multiply_add(
                    ds.transposed(),
                    q,
                    dk.rows(b, h, s.key_start, s.key_len),
                    scale,
                );
                multiply_add(
                    p.transposed(),
                    d_o,
                    dv.rows(b, h, s.key_start, s.key_len),
                    1.0,
                );
            }
        }
    });
    let [dq, dk, dv] = grads;
    (dq, dk, dv)
}

/// Turns scores into weights and returns the log of the sum of their exponentials.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn softmax(row: &mut [f32]) -> f32 {
    let max = row.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
    for x in row.iter_mut() {
        *x = exp(*x - max);
    }
    // Several sums at once: a single one would have to be added up in order.
    let mut sums = [0.0; 16];
    for chunk in row.chunks(sums.len()) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    let sum: f32 = sums.iter().sum();
    let factor = 1.0 / sum;
    for x in row.iter_mut() {
        *x *= factor;
    }
    max + sum.ln()
}

/// Turns scores into weights, and gradients of the weights into gradients of the scores.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn softmax_backward(scores: &mut [f32], grads: &mut [f32], log_sum_exp: f32, delta: f32) {
    for (p, ds) in scores.iter_mut().zip(grads) {
        *p = exp(*p - log_sum_exp);
        *ds = *p * (*ds - delta);
    }
}

fn is_empty(segment: &Segment) -> bool {
    segment.query_len == 0 || segment.key_len == 0
}

fn dims(tensor: &FlexTensor) -> [usize; 4] {
    std::array::from_fn(|i| tensor.layout().shape()[i])
}

fn zeros(dims: [usize; 4]) -> FlexTensor {
    FlexTensor::zeros(Shape::from(dims), DType::F32)
}

/// The segments of each sequence; those of a table on the CPU can simply be read.
fn read_segments(table: &FlexTensor) -> Vec<Vec<Segment>> {
    let n_segments = table.layout().shape()[1];
    let values: Vec<i64> = table.to_contiguous().into_data().iter::<i64>().collect();
    let segments: Vec<Segment> = values
        .chunks_exact(4)
        .map(|s| Segment {
            query_start: s[0] as usize,
            query_len: s[1] as usize,
            key_start: s[2] as usize,
            key_len: s[3] as usize,
        })
        .collect();
    segments.chunks(n_segments).map(<[_]>::to_vec).collect()
}

/// A matrix somewhere in memory.
#[derive(Clone, Copy)]
struct Matrix {
    start: *mut f32,
    n_rows: usize,
    n_columns: usize,
    row_stride: isize,
    column_stride: isize,
}

impl Matrix {
    /// Rows without gaps.
    fn dense(values: &mut [f32], n_columns: usize) -> Self {
        Self {
            start: values.as_mut_ptr(),
            n_rows: values.len() / n_columns,
            n_columns,
            row_stride: n_columns as isize,
            column_stride: 1,
        }
    }

    fn transposed(self) -> Self {
        Self {
            n_rows: self.n_columns,
            n_columns: self.n_rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The product of row `i` of two matrices.
    fn dot_row(&self, other: &Self, i: usize, len: usize) -> f32 {
        assert!(i < self.n_rows && i < other.n_rows);
        assert!(len <= self.n_columns && len <= other.n_columns);
        let at = |m: &Self, j: usize| {
            let offset = i as isize * m.row_stride + j as isize * m.column_stride;
            // SAFETY: the row and the column lie in the matrix.
            unsafe { *m.start.offset(offset) }
        };
        (0..len).map(|j| at(self, j) * at(other, j)).sum()
    }
}

/// The memory of a tensor `[batch, seq, heads, head_dim]` that is read.
struct Heads<'a> {
    values: &'a [f32],
    offset: usize,
    dims: [usize; 4],
    strides: [isize; 4],
}

impl<'a> Heads<'a> {
    fn new(tensor: &'a FlexTensor) -> Self {
        Self {
            values: tensor.storage::<f32>(),
            offset: tensor.layout().start_offset(),
            dims: dims(tensor),
            strides: std::array::from_fn(|i| tensor.layout().strides()[i]),
        }
    }

    /// Some tokens of one head; panics if they are not in the tensor.
    fn rows(&self, b: usize, h: usize, start: usize, len: usize) -> Matrix {
        let offset = place(self.offset, self.dims, self.strides, [b, start, h], len);
        Matrix {
            start: self.values[offset..].as_ptr().cast_mut(),
            n_rows: len,
            n_columns: self.dims[3],
            row_stride: self.strides[1],
            column_stride: self.strides[3],
        }
    }
}

/// The memory of a contiguous tensor that threads write to, each to heads of its own.
struct SharedHeads {
    start: *mut f32,
    dims: [usize; 4],
}

// SAFETY: every thread writes to the heads it was given only.
unsafe impl Sync for SharedHeads {}

impl SharedHeads {
    fn new(tensor: &mut FlexTensor) -> Self {
        let dims = dims(tensor);
        Self {
            start: tensor.storage_mut::<f32>().as_mut_ptr(),
            dims,
        }
    }

    fn rows(&self, b: usize, h: usize, start: usize, len: usize) -> Matrix {
        let [_, seq, heads, head_dim] = self.dims;
        let token = heads * head_dim;
        let strides = [seq * token, token, head_dim, 1].map(|x| x as isize);
        let offset = place(0, self.dims, strides, [b, start, h], len);
        Matrix {
            // SAFETY: `place` checked that the tokens lie in the tensor.
            start: unsafe { self.start.add(offset) },
            n_rows: len,
            n_columns: head_dim,
            row_stride: strides[1],
            column_stride: 1,
        }
    }
}

/// Where `len` tokens of a head start in memory.
fn place(
    offset: usize,
    dims: [usize; 4],
    strides: [isize; 4],
    [b, start, h]: [usize; 3],
    len: usize,
) -> usize {
    assert!(
        b < dims[0] && h < dims[2] && start + len <= dims[1],
        "a segment of {len} tokens from {start} leaves a sequence of {}",
        dims[1]
    );
    let moved = b as isize * strides[0] + start as isize * strides[1] + h as isize * strides[2];
    offset
        .checked_add_signed(moved)
        .expect("a tensor does not start before its memory")
}

/// `output = scale * left right`.
///
/// # Safety
/// `left` and `right` have to be readable, and `output` writable by this thread alone.
unsafe fn multiply(left: Matrix, right: Matrix, output: Matrix, scale: f32) {
    // SAFETY: as promised by the caller.
    unsafe { product(left, right, output, scale, false) }
}

/// `output += scale * left right`.
///
/// # Safety
/// As for [`multiply`].
unsafe fn multiply_add(left: Matrix, right: Matrix, output: Matrix, scale: f32) {
    // SAFETY: as promised by the caller.
    unsafe { product(left, right, output, scale, true) }
}

unsafe fn product(left: Matrix, right: Matrix, output: Matrix, scale: f32, adds: bool) {
    assert!(
        left.n_columns == right.n_rows
            && output.n_rows == left.n_rows
            && output.n_columns == right.n_columns
    );
    // SAFETY: the shapes fit, and the caller promises the memory.
    unsafe {
        gemm::gemm(
            left.n_rows,
            right.n_columns,
            left.n_columns,
            output.start,
            output.column_stride,
            output.row_stride,
            adds,
            left.start,
            left.column_stride,
            left.row_stride,
            right.start,
            right.column_stride,
            right.row_stride,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
