use super::row_access::{add_row, dot, load_row, row_offset, stage_rows, store_row, sum, zero_row};

use super::*;
use crate::kernels::segment_table::rectangle;

/// Gradient of a tile of queries; also `delta`, the sum of output times its gradient for each query.
#[cube(launch)]
fn query_grad_kernel<E: Float, I: Numeric, N: Size>(
    query: &Tensor<Vector<E, N>>,
    key: &Tensor<Vector<E, N>>,
    value: &Tensor<Vector<E, N>>,
    segments: &Tensor<I>,
    output: &Tensor<Vector<E, N>>,
    log_sum_exp: &Tensor<f32>,
    output_grad: &Tensor<Vector<E, N>>,
    query_grad: &mut Tensor<Vector<E, N>>,
    delta: &mut Tensor<f32>,
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
    let query_len = query.shape(1);
    let is_query = row < query_len;
    let some_row = min(row, query_len - 1);

    let offset = row_offset(query, batch, some_row, head, vector_size);
    let own = load_row(query, offset, scale, n_vectors);
    let offset = row_offset(output_grad, batch, some_row, head, vector_size);
    let grad = load_row(output_grad, offset, 1.0, n_vectors);
    let offset = row_offset(output, batch, some_row, head, vector_size);
    let mut products = Vector::<f32, N>::new(0.0);
    #[unroll]
    for i in 0..n_vectors {
        products += grad[i] * Vector::cast_from(output[offset + i]);
    }
    let own_delta = sum(products, vector_size);
    let place = batch * log_sum_exp.stride(0)
        + head * log_sum_exp.stride(1)
        + some_row * log_sum_exp.stride(2);
    let own_log_sum = log_sum_exp[place];

    let mut accumulated = zero_row::<N>(n_vectors);
    let mut keys = Shared::<[Vector<f32, N>]>::new_slice(shared_rows * n_vectors);
    let mut values = Shared::<[Vector<f32, N>]>::new_slice(shared_rows * n_vectors);

    for index in 0..segments.shape(1) {
        let segment = rectangle(segments, batch, index);
        if segment.query_start < end_row && segment.query_end > first_row {
            let reads = is_query && row >= segment.query_start && row < segment.query_end;
            let mut start = segment.key_start;
            while start < segment.key_end {
                let n_rows = min(shared_rows, segment.key_end - start);
                sync_cube();
                stage_rows(
                    key,
                    &mut keys,
                    batch,
                    start,
                    n_rows,
                    head,
                    1.0,
                    n_vectors,
                    vector_size,
                );
                stage_rows(
                    value,
                    &mut values,
                    batch,
                    start,
                    n_rows,
                    head,
                    1.0,
                    n_vectors,
                    vector_size,
                );
                sync_cube();
                if reads {
                    for j in 0..n_rows {
                        let score = dot(&own, &keys, j, n_vectors, vector_size);
                        let weight = (score - own_log_sum).exp();
                        let weight_grad = dot(&grad, &values, j, n_vectors, vector_size);
                        let score_grad = weight * (weight_grad - own_delta);
                        add_row(&mut accumulated, &keys, j, score_grad, n_vectors);
                    }
                }
                start += shared_rows;
            }
        }
    }

    if is_query {
        store_row(
            query_grad,
            batch,
            row,
            head,
            &accumulated,
            scale,
            n_vectors,
            vector_size,
        );
        let place = batch * delta.stride(0) + head * delta.stride(1) + row * delta.stride(2);
        delta[place] = own_delta;
    }
}

/// The gradient of the queries, and `delta` for [`super::key_value_grad`].
pub(super) fn query_grad(input: &BackwardInput) -> (CubeTensor, CubeTensor) {
    let sizes = Sizes::new(&input.query, &input.key);
    let vector_size = vector_size(&sizes);
    let query = &input.query;
    let client = query.client.clone();
    let gradient = empty_device_contiguous_dtype(
        client.clone(),
        query.device.clone(),
        query.shape(),
        query.dtype,
    );
    let delta = empty_device_contiguous_dtype(
        client.clone(),
        query.device.clone(),
        input.log_sum_exp.shape(),
        DType::F32,
    );
    query_grad_kernel::launch(
        &client,
        sizes.grid(sizes.query_len, TILE),
        CubeDim::new_1d(TILE as u32),
        vector_size,
        query.clone().into_tensor_arg(),
        input.key.clone().into_tensor_arg(),
        input.value.clone().into_tensor_arg(),
        input.segments.clone().into_tensor_arg(),
        input.output.clone().into_tensor_arg(),
        input.log_sum_exp.clone().into_tensor_arg(),
        input.output_grad.clone().into_tensor_arg(),
        gradient.clone().into_tensor_arg(),
        delta.clone().into_tensor_arg(),
        sizes.scale(),
        sizes.head_dim / vector_size,
        vector_size,
        shared_rows(&sizes, 2),
        dtypes(&input.query, &input.segments),
    );
    (gradient, delta)
}
