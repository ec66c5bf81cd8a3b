use super::row_access::{add_row, dot, load_row, row_offset, stage_rows, store_row, zero_row};

use super::*;
use crate::kernels::segment_table::rectangle;

/// Below every score that float32 products reach in practice, and far from overflow.
const LOWEST: f32 = -1e30;

/// Output and log-sum-exp of a tile of queries, by online softmax.
#[cube(launch)]
fn forward_kernel<E: Float, I: Numeric, N: Size>(
    query: &Tensor<Vector<E, N>>,
    key: &Tensor<Vector<E, N>>,
    value: &Tensor<Vector<E, N>>,
    segments: &Tensor<I>,
    output: &mut Tensor<Vector<E, N>>,
    log_sum_exp: &mut Tensor<f32>,
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
    // Units behind the last query take part in the loading, and read a row that is there.
    let some_row = min(row, query_len - 1);

    let offset = row_offset(query, batch, some_row, head, vector_size);
    let own = load_row(query, offset, scale, n_vectors);
    let mut accumulated = zero_row::<N>(n_vectors);
    let mut largest = f32::new(LOWEST);
    let mut total = f32::new(0.0);
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
                        if score > largest {
                            let shrink = (largest - score).exp();
                            largest = score;
                            total *= shrink;
                            #[unroll]
                            for i in 0..n_vectors {
                                accumulated[i] *= Vector::new(shrink);
                            }
                        }
                        let weight = (score - largest).exp();
                        total += weight;
                        add_row(&mut accumulated, &values, j, weight, n_vectors);
                    }
                }
                start += shared_rows;
            }
        }
    }

    if is_query {
        let mut norm = f32::new(0.0);
        if total > 0.0 {
            norm = 1.0 / total;
        }
        store_row(
            output,
            batch,
            row,
            head,
            &accumulated,
            norm,
            n_vectors,
            vector_size,
        );
        let place = batch * log_sum_exp.stride(0)
            + head * log_sum_exp.stride(1)
            + row * log_sum_exp.stride(2);
        log_sum_exp[place] = largest + total.ln();
    }
}

/// See [`crate::PartitionAttentionOps::partition_attention_forward`].
pub(crate) fn forward(
    query: CubeTensor,
    key: CubeTensor,
    value: CubeTensor,
    segments: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let sizes = Sizes::new(&query, &key);
    let vector_size = vector_size(&sizes);
    let (client, device) = (query.client.clone(), query.device.clone());
    let (dtype, shape) = (query.dtype, query.shape());
    let segments = into_contiguous(segments);
    let dtypes = dtypes(&query, &segments);
    let output = empty_device_contiguous_dtype(client.clone(), device.clone(), shape, dtype);
    let rows = Shape::from([sizes.batch, sizes.heads, sizes.query_len, 1]);
    let log_sum_exp = empty_device_contiguous_dtype(client.clone(), device, rows, DType::F32);
    forward_kernel::launch(
        &client,
        sizes.grid(sizes.query_len, TILE),
        CubeDim::new_1d(TILE as u32),
        vector_size,
        readable(query, vector_size).into_tensor_arg(),
        readable(key, vector_size).into_tensor_arg(),
        readable(value, vector_size).into_tensor_arg(),
        segments.into_tensor_arg(),
        output.clone().into_tensor_arg(),
        log_sum_exp.clone().into_tensor_arg(),
        sizes.scale(),
        sizes.head_dim / vector_size,
        vector_size,
        shared_rows(&sizes, 2),
        dtypes,
    );
    (output, log_sum_exp)
}
