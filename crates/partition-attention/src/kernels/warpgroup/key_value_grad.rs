use super::wgmma::{MATRIX_BYTES, add_product_of_rows, address, fence_async_proxy, product, zeros};
use super::*;
use crate::kernels::segment_table::rectangle;
use crate::kernels::tensor_core::async_copy::{
    copy_row_sums, copy_rows, cp_async_commit, cp_async_wait,
};
use crate::kernels::tensor_core::fragments::{Chunk, Pair, exp2};

/// Keys of a cube.
const KEYS: usize = 64;
/// Queries of a step.
const QUERIES: usize = 64;

/// Gradients of a tile of keys and their values. Scores are transposed: a row is a key.
#[cube(launch)]
fn key_value_grad_kernel<E: Float, I: Numeric>(
    query: &Tensor<Chunk<E>>,
    key: &Tensor<Chunk<E>>,
    value: &Tensor<Chunk<E>>,
    segments: &Tensor<I>,
    log_sum_exp: &Tensor<f32>,
    delta: &Tensor<f32>,
    output_grad: &Tensor<Chunk<E>>,
    key_grad: &mut Tensor<Pair<E>>,
    value_grad: &mut Tensor<Pair<E>>,
    scale: f32,
    #[comptime] operand_dtype: OperandDtype,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let format = comptime![operand_dtype.ptx()];
    let scale_log2 = scale * LOG2_E;
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let lane = UNIT_POS_X as usize % 32;
    let own_row = UNIT_POS_X as usize / 32 * 16 + lane / 4;
    let first_key = CUBE_POS_X as usize * KEYS;
    let query_len = query.shape(1);
    let key_len = key.shape(1);
    let row_base = (batch * log_sum_exp.shape(1) + head) * query_len;

    let mut keys = Shared::<[Chunk<E>]>::new_aligned_slice(KEYS * CHUNKS, ALIGNMENT);
    let mut values = Shared::<[Chunk<E>]>::new_aligned_slice(KEYS * CHUNKS, ALIGNMENT);
    // Two stages of each.
    let mut queries = Shared::<[Chunk<E>]>::new_aligned_slice(2 * QUERIES * CHUNKS, ALIGNMENT);
    let mut grads = Shared::<[Chunk<E>]>::new_aligned_slice(2 * QUERIES * CHUNKS, ALIGNMENT);
    let mut log_sums = Shared::<[f32]>::new_slice(2 * QUERIES);
    let mut deltas = Shared::<[f32]>::new_slice(2 * QUERIES);
    copy_rows(
        key,
        &mut keys,
        0,
        batch,
        head,
        first_key,
        key_len - 1,
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
        first_key,
        key_len - 1,
        KEYS,
        CHUNKS,
        UNITS,
    );
    let key_at = address::<E>(&keys);
    let value_at = address::<E>(&values);
    let query_at = address::<E>(&queries);
    let grad_at = address::<E>(&grads);

    let mut key_sums = zeros();
    let mut value_sums = zeros();
    for index in 0..segments.shape(1) {
        let segment = rectangle(segments, batch, index);
        let is_met = segment.key_start < first_key + KEYS
            && segment.key_end > first_key
            && segment.query_start < segment.query_end;
        if is_met {
            let last_query = segment.query_end - 1;
            let n_tiles = (segment.query_end - segment.query_start).div_ceil(QUERIES);
            let cuts_rows = segment.key_start > first_key || segment.key_end < first_key + KEYS;
            // The tile before may still be read.
            sync_cube();
            copy_rows(
                query,
                &mut queries,
                0,
                batch,
                head,
                segment.query_start,
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
                segment.query_start,
                last_query,
                QUERIES,
                CHUNKS,
                UNITS,
            );
            copy_row_sums(
                log_sum_exp,
                &mut log_sums,
                0,
                row_base,
                segment.query_start,
                last_query,
                QUERIES,
            );
            copy_row_sums(
                delta,
                &mut deltas,
                0,
                row_base,
                segment.query_start,
                last_query,
                QUERIES,
            );
            cp_async_commit();
            for tile in 0..n_tiles {
                let first_query = segment.query_start + tile * QUERIES;
                let stage = tile % 2;
                cp_async_wait(0usize);
                fence_async_proxy();
                // The tile is there for all UNITS, and none reads the one before any more.
                sync_cube();
                if tile + 1 < n_tiles {
                    let next = (1 - stage) * QUERIES;
                    let from = first_query + QUERIES;
                    copy_rows(
                        query,
                        &mut queries,
                        next,
                        batch,
                        head,
                        from,
                        last_query,
                        QUERIES,
                        CHUNKS,
                        UNITS,
                    );
                    copy_rows(
                        output_grad,
                        &mut grads,
                        next,
                        batch,
                        head,
                        from,
                        last_query,
                        QUERIES,
                        CHUNKS,
                        UNITS,
                    );
                    copy_row_sums(
                        log_sum_exp,
                        &mut log_sums,
                        next,
                        row_base,
                        from,
                        last_query,
                        QUERIES,
                    );
                    copy_row_sums(
                        delta,
                        &mut deltas,
                        next,
                        row_base,
                        from,
                        last_query,
                        QUERIES,
                    );
                }
                cp_async_commit();
                let offset = stage as u32 * MATRIX_BYTES;
                let cuts = cuts_rows || first_query + QUERIES > segment.query_end;
                let scores = product(key_at, query_at + offset, format);
                let weight_grads = product(value_at, grad_at + offset, format);
                let mut weights = Array::<f32>::new(32usize);
                let from = stage * QUERIES + 2 * (lane % 4);
                #[unroll]
                for n in 0..8usize {
                    #[unroll]
                    for i in 0..2usize {
                        let log_sum = log_sums[from + comptime![8 * n + i]] * LOG2_E;
                        #[unroll]
                        for r in 0..2usize {
                            let at = comptime![4 * n + 2 * r + i];
                            weights[at] = exp2(scores.extract(at) * scale_log2 - log_sum);
                        }
                    }
                }
                if cuts {
                    #[unroll]
                    for at in 0..32usize {
                        let row = first_key + own_row + comptime![8 * (at / 2 % 2)];
                        let column =
                            first_query + 2 * (lane % 4) + comptime![8 * (at / 4) + at % 2];
                        if row < segment.key_start
                            || row >= segment.key_end
                            || column >= segment.query_end
                        {
                            weights[at] = f32::new(0.0);
                        }
                    }
                }
                let mut weight_pairs = Array::<Pair<E>>::new(16usize);
                let mut score_grads = Array::<Pair<E>>::new(16usize);
                #[unroll]
                for n in 0..8usize {
                    let mut row_deltas = Array::<f32>::new(2usize);
                    #[unroll]
                    for i in 0..2usize {
                        row_deltas[i] = deltas[from + comptime![8 * n + i]];
                    }
                    #[unroll]
                    for r in 0..2usize {
                        let pair_at = comptime![2 * n + r];
                        let mut weight_pair = Pair::<f32>::new(0.0);
                        let mut grad_pair = Pair::<f32>::new(0.0);
                        #[unroll]
                        for i in 0..2usize {
                            let at = comptime![2 * pair_at + i];
                            let weight = weights[at];
                            weight_pair.insert(i, weight);
                            grad_pair
                                .insert(i, weight * (weight_grads.extract(at) - row_deltas[i]));
                        }
                        weight_pairs[pair_at] = Vector::cast_from(weight_pair);
                        score_grads[pair_at] = Vector::cast_from(grad_pair);
                    }
                }
                add_product_of_rows::<E>(&mut value_sums, &weight_pairs, grad_at + offset, format);
                add_product_of_rows::<E>(&mut key_sums, &score_grads, query_at + offset, format);
            }
        }
    }

    // Both gradients are contiguous and of one shape.
    let base = (batch * key_grad.stride(0) + head * key_grad.stride(2)) / 2;
    #[unroll]
    for r in 0..2usize {
        let row = first_key + own_row + 8 * r;
        if row < key_len {
            let at = base + row * (key_grad.stride(1) / 2) + lane % 4;
            #[unroll]
            for n in 0..8usize {
                let from = comptime![4 * n + 2 * r];
                let mut pair = Pair::<f32>::new(key_sums[from] * scale);
                pair.insert(1usize, key_sums[comptime![from + 1]] * scale);
                key_grad[at + 4 * n] = Vector::cast_from(pair);
                let mut pair = Pair::<f32>::new(value_sums[from]);
                pair.insert(1usize, value_sums[comptime![from + 1]]);
                value_grad[at + 4 * n] = Vector::cast_from(pair);
            }
        }
    }
}

/// The gradients of keys and values.
pub(super) fn key_value_grad(input: &BackwardInput, delta: CubeTensor) -> (CubeTensor, CubeTensor) {
    let sizes = Sizes::new(&input.query, &input.key);
    let key = &input.key;
    let client = key.client.clone();
    let [key_grad, value_grad] = [key, &input.value].map(|like| {
        let device = like.device.clone();
        empty_device_contiguous_dtype(client.clone(), device, like.shape(), like.dtype)
    });
    key_value_grad_kernel::launch(
        &client,
        sizes.grid(sizes.key_len, KEYS),
        CubeDim::new_1d(UNITS as u32),
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
        OperandDtype::from_dtype(key.dtype),
        dtypes(&input.query, &input.segments),
    );
    (key_grad, value_grad)
}
