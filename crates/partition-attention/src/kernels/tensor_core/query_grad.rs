use super::async_copy::{copy_rows, cp_async_commit, cp_async_wait};
use super::fragments::{
    Chunk, Pair, as_left, exp2, load_left, load_right, load_right_transposed, multiply, zero_tiles,
};
use super::*;
use crate::kernels::segment_table::rectangle;

/// Queries of a cube.
const QUERIES: usize = 128;

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
    #[comptime] head_dim: usize,
    #[comptime] tiling: Tiling,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let chunks = comptime![head_dim / 8];
    let steps = comptime![head_dim / 16];
    let n_keys = comptime![tiling.rows];
    let part = comptime![tiling.part];
    let halves = comptime![tiling.halves];
    // A plane owns one or two tiles of 16 queries.
    let plane_rows = comptime![16 * halves];
    let n_units = comptime![QUERIES / plane_rows * 32];
    let scale_log2 = scale * LOG2_E;
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let lane = UNIT_POS_X as usize % 32;
    let plane_row = UNIT_POS_X as usize / 32 * plane_rows;
    let first_query = CUBE_POS_X as usize * QUERIES;
    let first_own = first_query + plane_row;
    let query_len = query.shape(1);
    let last_query = query_len - 1;

    // Large enough for two stages, and for all queries of the cube before that.
    let shared_rows = comptime![if 2 * n_keys > QUERIES {
        2 * n_keys
    } else {
        QUERIES
    }];
    let mut keys = Shared::<[Chunk<E>]>::new_aligned_slice(shared_rows * chunks, 16usize);
    let mut values = Shared::<[Chunk<E>]>::new_aligned_slice(shared_rows * chunks, 16usize);
    copy_rows(
        query,
        &mut keys,
        0,
        batch,
        head,
        first_query,
        last_query,
        QUERIES,
        chunks,
        n_units,
    );
    copy_rows(
        output_grad,
        &mut values,
        0,
        batch,
        head,
        first_query,
        last_query,
        QUERIES,
        chunks,
        n_units,
    );
    cp_async_commit();
    cp_async_wait(0usize);
    sync_cube();
    let mut queries = Sequence::<Array<Pair<E>>>::new();
    let mut grads = Sequence::<Array<Pair<E>>>::new();
    #[unroll]
    for half in 0..halves {
        #[unroll]
        for step in 0..steps {
            let row = plane_row + 16 * half;
            queries.push(load_left::<E>(&keys, row, step, chunks));
            grads.push(load_left::<E>(&values, row, step, chunks));
        }
    }
    sync_cube();
    copy_rows(
        output,
        &mut keys,
        0,
        batch,
        head,
        first_query,
        last_query,
        QUERIES,
        chunks,
        n_units,
    );
    cp_async_commit();
    cp_async_wait(0usize);
    sync_cube();
    // Of the rows of a lane.
    let mut deltas = Array::<f32>::new(comptime![2 * halves]);
    let mut log_sums = Array::<f32>::new(comptime![2 * halves]);
    #[unroll]
    for r in 0..comptime![2 * halves] {
        deltas[r] = f32::new(0.0);
    }
    #[unroll]
    for half in 0..halves {
        #[unroll]
        for step in 0..steps {
            let outputs = load_left::<E>(&keys, plane_row + 16 * half, step, chunks);
            let grads = grads.index(half * steps + step);
            #[unroll]
            for i in 0..4usize {
                let grad: Pair<f32> = Vector::cast_from(grads[i]);
                let product = grad * Vector::cast_from(outputs[i]);
                deltas[comptime![2 * half + i % 2]] +=
                    product.extract(0usize) + product.extract(1usize);
            }
        }
    }
    let row_base = (batch * log_sum_exp.shape(1) + head) * query_len;
    #[unroll]
    for r in 0..comptime![2 * halves] {
        let mut sum = deltas[r];
        sum += plane_shuffle_xor(sum, 1u32);
        sum += plane_shuffle_xor(sum, 2u32);
        deltas[r] = sum;
        let row = first_own + 8 * r + lane / 4;
        log_sums[r] = log_sum_exp[row_base + min(row, last_query)] * LOG2_E;
        if row < query_len && lane % 4 == 0 {
            delta[row_base + row] = sum;
        }
    }

    let mut accumulated = zero_tiles(comptime![halves * chunks]);
    for index in 0..segments.shape(1) {
        let segment = rectangle(segments, batch, index);
        let is_met = segment.query_start < first_query + QUERIES
            && segment.query_end > first_query
            && segment.key_start < segment.key_end;
        if is_met {
            let last_key = segment.key_end - 1;
            let n_tiles = (segment.key_end - segment.key_start).div_ceil(n_keys);
            let works =
                segment.query_start < first_own + plane_rows && segment.query_end > first_own;
            let cuts_rows =
                segment.query_start > first_own || segment.query_end < first_own + plane_rows;
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
                n_keys,
                chunks,
                n_units,
            );
            copy_rows(
                value,
                &mut values,
                0,
                batch,
                head,
                segment.key_start,
                last_key,
                n_keys,
                chunks,
                n_units,
            );
            cp_async_commit();
            for tile in 0..n_tiles {
                let first_key = segment.key_start + tile * n_keys;
                let stage = (tile % 2) * n_keys;
                cp_async_wait(0usize);
                // The tile is there for all units, and none reads the one before any more.
                sync_cube();
                if tile + 1 < n_tiles {
                    let next = n_keys - stage;
                    copy_rows(
                        key,
                        &mut keys,
                        next,
                        batch,
                        head,
                        first_key + n_keys,
                        last_key,
                        n_keys,
                        chunks,
                        n_units,
                    );
                    copy_rows(
                        value,
                        &mut values,
                        next,
                        batch,
                        head,
                        first_key + n_keys,
                        last_key,
                        n_keys,
                        chunks,
                        n_units,
                    );
                }
                cp_async_commit();
                if works {
                    for part_index in 0..n_keys / part {
                        let part_row = stage + part_index * part;
                        let part_key = first_key + part_index * part;
                        let mut scores = zero_tiles(comptime![halves * (part / 8)]);
                        let mut weight_grads = zero_tiles(comptime![halves * (part / 8)]);
                        #[unroll]
                        for step in 0..steps {
                            #[unroll]
                            for pair in 0..comptime![part / 16] {
                                let row = part_row + 16 * pair;
                                let (first, second) = load_right::<E>(&keys, row, step, chunks);
                                #[unroll]
                                for half in 0..halves {
                                    let left = queries.index(half * steps + step);
                                    let at = comptime![half * (part / 8) + 2 * pair];
                                    multiply::<E>(left, &first, scores.index_mut(at));
                                    multiply::<E>(left, &second, scores.index_mut(at + 1));
                                }
                                let (first, second) = load_right::<E>(&values, row, step, chunks);
                                #[unroll]
                                for half in 0..halves {
                                    let left = grads.index(half * steps + step);
                                    let at = comptime![half * (part / 8) + 2 * pair];
                                    multiply::<E>(left, &first, weight_grads.index_mut(at));
                                    multiply::<E>(left, &second, weight_grads.index_mut(at + 1));
                                }
                            }
                        }
                        let cuts = cuts_rows || part_key + part > segment.key_end;
                        #[unroll]
                        for half in 0..halves {
                            #[unroll]
                            for n in 0..comptime![part / 8] {
                                let tile = comptime![half * (part / 8) + n];
                                #[unroll]
                                for r in 0..2usize {
                                    let slot = comptime![2 * half + r];
                                    let score = scores.index(tile)[r];
                                    let weight_grad = weight_grads.index(tile)[r];
                                    let mut pair = Pair::<f32>::new(0.0);
                                    #[unroll]
                                    for i in 0..2usize {
                                        let weight =
                                            exp2(score.extract(i) * scale_log2 - log_sums[slot]);
                                        let mut grad =
                                            weight * (weight_grad.extract(i) - deltas[slot]);
                                        if cuts {
                                            let row = first_own + 8 * slot + lane / 4;
                                            let column = part_key + 8 * n + 2 * (lane % 4) + i;
                                            if row < segment.query_start
                                                || row >= segment.query_end
                                                || column >= segment.key_end
                                            {
                                                grad = f32::new(0.0);
                                            }
                                        }
                                        pair.insert(i, grad);
                                    }
                                    let scores = scores.index_mut(tile);
                                    scores[r] = pair;
                                }
                            }
                        }
                        #[unroll]
                        for step in 0..comptime![part / 16] {
                            let mut lefts = Sequence::<Array<Pair<E>>>::new();
                            #[unroll]
                            for half in 0..halves {
                                let at = comptime![half * (part / 8) + 2 * step];
                                lefts.push(as_left::<E>(scores.index(at), scores.index(at + 1)));
                            }
                            #[unroll]
                            for pair in 0..steps {
                                let row = part_row + 16 * step;
                                let (first, second) =
                                    load_right_transposed::<E>(&keys, row, pair, chunks);
                                #[unroll]
                                for half in 0..halves {
                                    let left = lefts.index(half);
                                    let at = comptime![half * chunks + 2 * pair];
                                    multiply::<E>(left, &first, accumulated.index_mut(at));
                                    multiply::<E>(left, &second, accumulated.index_mut(at + 1));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    let base = (batch * query_grad.stride(0) + head * query_grad.stride(2)) / 2;
    #[unroll]
    for slot in 0..comptime![2 * halves] {
        let row = first_own + 8 * slot + lane / 4;
        if row < query_len {
            let at = base + row * (query_grad.stride(1) / 2) + lane % 4;
            #[unroll]
            for n in 0..chunks {
                let pair = accumulated.index(comptime![slot / 2 * chunks + n])[comptime![slot % 2]];
                query_grad[at + 4 * n] = Vector::cast_from(pair * Vector::new(scale));
            }
        }
    }
}

/// The gradient of the queries, and `delta` for [`super::key_value_grad`].
pub(super) fn query_grad(input: &BackwardInput) -> (CubeTensor, CubeTensor) {
    let sizes = Sizes::new(&input.query, &input.key);
    let tiling = Tiling::of_query_grad(sizes.head_dim);
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
        CubeDim::new_1d(tiling.n_units(QUERIES)),
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
        sizes.head_dim,
        tiling,
        dtypes(&input.query, &input.segments),
    );
    (gradient, delta)
}
