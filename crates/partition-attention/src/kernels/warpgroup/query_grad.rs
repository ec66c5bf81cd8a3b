use super::wgmma::{MATRIX_BYTES, add_product_of_rows, address, fence_async_proxy, product, zeros};
use super::*;
use crate::kernels::segment_table::rectangle;
use crate::kernels::tensor_core::async_copy::{copy_rows, cp_async_commit, cp_async_wait};
use crate::kernels::tensor_core::fragments::{Chunk, Pair, exp2};

/// Queries of a cube.
const QUERIES: usize = 64;
/// Keys of a step.
const KEYS: usize = 64;

/// Gradient of a tile of queries; also `delta`, the sum of output times its gradient for each query.
#[cube(launch)]
fn query_grad_kernel<E: Float, I: Numeric>(
    query: &Tensor<Chunk<E>>,
    key: &Tensor<Chunk<E>>,
    value: &Tensor<Chunk<E>>,
    segments: &Tensor<I>,
    output: &Tensor<Chunk<E>>,
    log_sum_exp: &Tensor<f32>,
    output_grad: &Tensor<Chunk<E>>,
    query_grad: &mut Tensor<Pair<E>>,
    delta: &mut Tensor<f32>,
    scale: f32,
    #[comptime] operand_dtype: OperandDtype,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let format = comptime![operand_dtype.ptx()];
    let scale_log2 = scale * LOG2_E;
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let unit = UNIT_POS_X as usize;
    let lane = unit % 32;
    let own_row = unit / 32 * 16 + lane / 4;
    let first_query = CUBE_POS_X as usize * QUERIES;
    let query_len = query.shape(1);
    let last_query = query_len - 1;
    let row_base = (batch * log_sum_exp.shape(1) + head) * query_len;

    let mut queries = Shared::<[Chunk<E>]>::new_aligned_slice(QUERIES * CHUNKS, ALIGNMENT);
    let mut grads = Shared::<[Chunk<E>]>::new_aligned_slice(QUERIES * CHUNKS, ALIGNMENT);
    // Two stages of each.
    let mut keys = Shared::<[Chunk<E>]>::new_aligned_slice(2 * KEYS * CHUNKS, ALIGNMENT);
    let mut values = Shared::<[Chunk<E>]>::new_aligned_slice(2 * KEYS * CHUNKS, ALIGNMENT);
    let mut row_deltas = Shared::<[f32]>::new_slice(QUERIES);
    copy_rows(
        query,
        &mut queries,
        0,
        batch,
        head,
        first_query,
        last_query,
        QUERIES,
        CHUNKS,
        UNITS,
    );
    copy_rows(
        output_grad,
        &mut grads,
        0,
        batch,
        head,
        first_query,
        last_query,
        QUERIES,
        CHUNKS,
        UNITS,
    );
    let query_at = address::<E>(&queries);
    let grad_at = address::<E>(&grads);
    let key_at = address::<E>(&keys);
    let value_at = address::<E>(&values);

    // Eight units a row.
    let chunk = unit % CHUNKS;
    let output_base = (batch * output.stride(0) + head * output.stride(2)) / 8 + chunk;
    let grad_base = (batch * output_grad.stride(0) + head * output_grad.stride(2)) / 8 + chunk;
    #[unroll]
    for i in 0..QUERIES * CHUNKS / UNITS {
        let own = i * (UNITS / CHUNKS) + unit / CHUNKS;
        let row = first_query + own;
        let read = min(row, last_query);
        let outputs = output[output_base + read * (output.stride(1) / 8)];
        let output_grads = output_grad[grad_base + read * (output_grad.stride(1) / 8)];
        let mut sum = f32::new(0.0);
        #[unroll]
        for j in 0..8usize {
            sum += f32::cast_from(outputs.extract(j)) * f32::cast_from(output_grads.extract(j));
        }
        sum += plane_shuffle_xor(sum, 1u32);
        sum += plane_shuffle_xor(sum, 2u32);
        sum += plane_shuffle_xor(sum, 4u32);
        if chunk == 0 {
            row_deltas[own] = sum;
            if row < query_len {
                delta[row_base + row] = sum;
            }
        }
    }
    sync_cube();
    // Of the two rows of a lane.
    let mut deltas = Array::<f32>::new(2usize);
    let mut log_sums = Array::<f32>::new(2usize);
    let mut accumulated = zeros();
    #[unroll]
    for r in 0..2usize {
        let row = own_row + 8 * r;
        deltas[r] = row_deltas[row];
        log_sums[r] = log_sum_exp[row_base + min(first_query + row, last_query)] * LOG2_E;
    }

    for index in 0..segments.shape(1) {
        let segment = rectangle(segments, batch, index);
        let is_met = segment.query_start < first_query + QUERIES
            && segment.query_end > first_query
            && segment.key_start < segment.key_end;
        if is_met {
            let last_key = segment.key_end - 1;
            let n_tiles = (segment.key_end - segment.key_start).div_ceil(KEYS);
            let cuts_rows =
                segment.query_start > first_query || segment.query_end < first_query + QUERIES;
            // The tile before may still be read.
            sync_cube();
            copy_rows(
                key,
                &mut keys,
                0,
                batch,
                head,
                segment.key_start,
                last_key,
                KEYS,
                CHUNKS,
                UNITS,
            );
            copy_rows(
                value,
                &mut values,
                0,
                batch,
                head,
                segment.key_start,
                last_key,
                KEYS,
                CHUNKS,
                UNITS,
            );
            cp_async_commit();
            for tile in 0..n_tiles {
                let first_key = segment.key_start + tile * KEYS;
                let stage = tile % 2;
                cp_async_wait(0usize);
                fence_async_proxy();
                // The tile is there for all UNITS, and none reads the one before any more.
                sync_cube();
                if tile + 1 < n_tiles {
                    let next = (1 - stage) * KEYS;
                    copy_rows(
                        key,
                        &mut keys,
                        next,
                        batch,
                        head,
                        first_key + KEYS,
                        last_key,
                        KEYS,
                        CHUNKS,
                        UNITS,
                    );
                    copy_rows(
                        value,
                        &mut values,
                        next,
                        batch,
                        head,
                        first_key + KEYS,
                        last_key,
                        KEYS,
                        CHUNKS,
                        UNITS,
                    );
                }
                cp_async_commit();
                let offset = stage as u32 * MATRIX_BYTES;
                let cuts = cuts_rows || first_key + KEYS > segment.key_end;
                let scores = product(query_at, key_at + offset, format);
                let weight_grads = product(grad_at, value_at + offset, format);
                let mut weights = Array::<f32>::new(32usize);
                #[unroll]
                for at in 0..32usize {
                    let r = comptime![at / 2 % 2];
                    weights[at] = exp2(scores.extract(at) * scale_log2 - log_sums[r]);
                }
                if cuts {
                    #[unroll]
                    for at in 0..32usize {
                        let row = first_query + own_row + comptime![8 * (at / 2 % 2)];
                        let column = first_key + 2 * (lane % 4) + comptime![8 * (at / 4) + at % 2];
                        if row < segment.query_start
                            || row >= segment.query_end
                            || column >= segment.key_end
                        {
                            weights[at] = f32::new(0.0);
                        }
                    }
                }
                let mut score_grads = Array::<Pair<E>>::new(16usize);
                #[unroll]
                for pair_at in 0..16usize {
                    let r = comptime![pair_at % 2];
                    let mut pair = Pair::<f32>::new(0.0);
                    #[unroll]
                    for i in 0..2usize {
                        let at = comptime![2 * pair_at + i];
                        pair.insert(i, weights[at] * (weight_grads.extract(at) - deltas[r]));
                    }
                    score_grads[pair_at] = Vector::cast_from(pair);
                }
                add_product_of_rows::<E>(&mut accumulated, &score_grads, key_at + offset, format);
            }
        }
    }

    let base = (batch * query_grad.stride(0) + head * query_grad.stride(2)) / 2;
    #[unroll]
    for r in 0..2usize {
        let row = first_query + own_row + 8 * r;
        if row < query_len {
            let at = base + row * (query_grad.stride(1) / 2) + lane % 4;
            #[unroll]
            for n in 0..8usize {
                let from = comptime![4 * n + 2 * r];
                let mut pair = Pair::<f32>::new(accumulated[from] * scale);
                pair.insert(1usize, accumulated[comptime![from + 1]] * scale);
                query_grad[at + 4 * n] = Vector::cast_from(pair);
            }
        }
    }
}

/// The gradient of the queries, and `delta` for [`super::key_value_grad`].
pub(super) fn query_grad(input: &BackwardInput) -> (CubeTensor, CubeTensor) {
    let sizes = Sizes::new(&input.query, &input.key);
    let query = &input.query;
    let client = query.client.clone();
    let device = query.device.clone();
    let gradient =
        empty_device_contiguous_dtype(client.clone(), device.clone(), query.shape(), query.dtype);
    let rows = input.log_sum_exp.shape();
    let delta = empty_device_contiguous_dtype(client.clone(), device, rows, DType::F32);
    query_grad_kernel::launch(
        &client,
        sizes.grid(sizes.query_len, QUERIES),
        CubeDim::new_1d(UNITS as u32),
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
        OperandDtype::from_dtype(query.dtype),
        dtypes(&input.query, &input.segments),
    );
    (gradient, delta)
}
