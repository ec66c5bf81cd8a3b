use super::row_access::{add_row, dot, load_row, row_offset, stage_rows, store_row, zero_row};

use super::*;
use crate::kernels::segment_table::rectangle;

/// Gradients of a tile of keys and their values.
#[cube(launch)]
fn key_value_grad_kernel<E: Float, I: Numeric, N: Size>(
    query: &Tensor<Vector<E, N>>,
    key: &Tensor<Vector<E, N>>,
    value: &Tensor<Vector<E, N>>,
    segments: &Tensor<I>,
    log_sum_exp: &Tensor<f32>,
    delta: &Tensor<f32>,
    output_grad: &Tensor<Vector<E, N>>,
    key_grad: &mut Tensor<Vector<E, N>>,
    value_grad: &mut Tensor<Vector<E, N>>,
    scale: f32,
    #[comptime] n_vectors: usize,
    #[comptime] vector_size: usize,
    #[comptime] shared_rows: usize,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let first_row = CUBE_POS_X as usize * CUBE_DIM_X as usize;
    let end_row = first_row + CUBE_DIM_X as usize;
    let row = first_row + UNIT_POS_X as usize;
    let key_len = key.shape(1);
    let is_key = row < key_len;
    let some_row = min(row, key_len - 1);

    let offset = row_offset(key, batch, some_row, head, vector_size);
    let own_key = load_row(key, offset, 1.0, n_vectors);
    let offset = row_offset(value, batch, some_row, head, vector_size);
    let own_value = load_row(value, offset, 1.0, n_vectors);
    let mut key_sum = zero_row::<N>(n_vectors);
    let mut value_sum = zero_row::<N>(n_vectors);
    let mut queries = Shared::<[Vector<f32, N>]>::new_slice(shared_rows * n_vectors);
    let mut grads = Shared::<[Vector<f32, N>]>::new_slice(shared_rows * n_vectors);
    let mut log_sums = Shared::<[f32]>::new_slice(shared_rows);
    let mut deltas = Shared::<[f32]>::new_slice(shared_rows);

    for index in 0..segments.shape(1) {
        let segment = rectangle(segments, batch, index);
        if segment.key_start < end_row && segment.key_end > first_row {
            let is_read = is_key && row >= segment.key_start && row < segment.key_end;
            let mut start = segment.query_start;
            while start < segment.query_end {
                let n_rows = min(shared_rows, segment.query_end - start);
                sync_cube();
                stage_rows(
                    query,
                    &mut queries,
                    batch,
                    start,
                    n_rows,
                    head,
                    scale,
                    n_vectors,
                    vector_size,
                );
                stage_rows(
                    output_grad,
                    &mut grads,
                    batch,
                    start,
                    n_rows,
                    head,
                    1.0,
                    n_vectors,
                    vector_size,
                );
                let mut i = UNIT_POS_X as usize;
                while i < n_rows {
                    let place = batch * log_sum_exp.stride(0)
                        + head * log_sum_exp.stride(1)
                        + (start + i) * log_sum_exp.stride(2);
                    log_sums[i] = log_sum_exp[place];
                    let place = batch * delta.stride(0)
                        + head * delta.stride(1)
                        + (start + i) * delta.stride(2);
                    deltas[i] = delta[place];
                    i += CUBE_DIM_X as usize;
                }
                sync_cube();
                if is_read {
                    for j in 0..n_rows {
                        let score = dot(&own_key, &queries, j, n_vectors, vector_size);
                        let weight = (score - log_sums[j]).exp();
                        let weight_grad = dot(&own_value, &grads, j, n_vectors, vector_size);
                        let score_grad = weight * (weight_grad - deltas[j]);
                        add_row(&mut value_sum, &grads, j, weight, n_vectors);
                        // The scale is in the queries.
                        add_row(&mut key_sum, &queries, j, score_grad, n_vectors);
                    }
                }
                start += shared_rows;
            }
        }
    }

    if is_key {
        store_row(
            key_grad,
            batch,
            row,
            head,
            &key_sum,
            1.0,
            n_vectors,
            vector_size,
        );
        store_row(
            value_grad,
            batch,
            row,
            head,
            &value_sum,
            1.0,
            n_vectors,
            vector_size,
        );
    }
}

/// The gradients of keys and values.
pub(super) fn key_value_grad(input: &BackwardInput, delta: CubeTensor) -> (CubeTensor, CubeTensor) {
    let sizes = Sizes::new(&input.query, &input.key);
    let vector_size = vector_size(&sizes);
    let key = &input.key;
    let client = key.client.clone();
    let [key_grad, value_grad] = [key, &input.value].map(|like| {
        empty_device_contiguous_dtype(
            client.clone(),
            like.device.clone(),
            like.shape(),
            like.dtype,
        )
    });
    key_value_grad_kernel::launch(
        &client,
        sizes.grid(sizes.key_len, TILE),
        CubeDim::new_1d(TILE as u32),
        vector_size,
        input.query.clone().into_tensor_arg(),
        key.clone().into_tensor_arg(),
        input.value.clone().into_tensor_arg(),
        input.segments.clone().into_tensor_arg(),
        input.log_sum_exp.clone().into_tensor_arg(),
        delta.into_tensor_arg(),
        input.output_grad.clone().into_tensor_arg(),
        key_grad.clone().into_tensor_arg(),
        value_grad.clone().into_tensor_arg(),
        sizes.scale(),
        sizes.head_dim / vector_size,
        vector_size,
        shared_rows(&sizes, 3),
        dtypes(&input.query, &input.segments),
    );
    (key_grad, value_grad)
}
