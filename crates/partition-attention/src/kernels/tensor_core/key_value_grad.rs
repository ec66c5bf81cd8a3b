use super::async_copy::{copy_row_sums, copy_rows, cp_async_commit, cp_async_wait};
use super::fragments::{
    Chunk, Pair, as_left, exp2, load_left, load_right, load_right_transposed, multiply, zero_tiles,
};
use super::*;
use crate::kernels::segment_table::rectangle;

/// Keys of a cube.
const KEYS: usize = 128;

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
    #[comptime] head_dim: usize,
    #[comptime] tiling: Tiling,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let chunks = comptime![head_dim / 8];
    let steps = comptime![head_dim / 16];
    let n_queries = comptime![tiling.rows];
    let part = comptime![tiling.part];
    let halves = comptime![tiling.halves];
    // A plane owns one or two tiles of 16 keys.
    let plane_rows = comptime![16 * halves];
    let n_units = comptime![KEYS / plane_rows * 32];
    let scale_log2 = scale * LOG2_E;
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let unit = UNIT_POS_X as usize;
    let lane = unit % 32;
    let plane_row = unit / 32 * plane_rows;
    let first_key = CUBE_POS_X as usize * KEYS;
    let first_own = first_key + plane_row;
    let query_len = query.shape(1);
    let key_len = key.shape(1);
    let row_base = (batch * log_sum_exp.shape(1) + head) * query_len;

    // Large enough for two stages, and for all keys of the cube before that.
    let shared_rows = comptime![if 2 * n_queries > KEYS {
        2 * n_queries
    } else {
        KEYS
    }];
    let mut queries = Shared::<[Chunk<E>]>::new_aligned_slice(shared_rows * chunks, 16usize);
    let mut grads = Shared::<[Chunk<E>]>::new_aligned_slice(shared_rows * chunks, 16usize);
    let mut log_sums = Shared::<[f32]>::new_slice(2 * n_queries);
    let mut deltas = Shared::<[f32]>::new_slice(2 * n_queries);
    copy_rows(
        key,
        &mut queries,
        0,
        batch,
        head,
        first_key,
        key_len - 1,
        KEYS,
        chunks,
        n_units,
    );
    copy_rows(
        value,
        &mut grads,
        0,
        batch,
        head,
        first_key,
        key_len - 1,
        KEYS,
        chunks,
        n_units,
    );
    cp_async_commit();
    cp_async_wait(0usize);
    sync_cube();
    let mut keys = Sequence::<Array<Pair<E>>>::new();
    let mut values = Sequence::<Array<Pair<E>>>::new();
    #[unroll]
    for half in 0..halves {
        #[unroll]
        for step in 0..steps {
            let row = plane_row + 16 * half;
            keys.push(load_left::<E>(&queries, row, step, chunks));
            values.push(load_left::<E>(&grads, row, step, chunks));
        }
    }

    let mut key_sum = zero_tiles(comptime![halves * chunks]);
    let mut value_sum = zero_tiles(comptime![halves * chunks]);
    for index in 0..segments.shape(1) {
        let segment = rectangle(segments, batch, index);
        let is_met = segment.key_start < first_key + KEYS
            && segment.key_end > first_key
            && segment.query_start < segment.query_end;
        if is_met {
            let last_query = segment.query_end - 1;
            let n_tiles = (segment.query_end - segment.query_start).div_ceil(n_queries);
            let works = segment.key_start < first_own + plane_rows && segment.key_end > first_own;
            let cuts_rows =
                segment.key_start > first_own || segment.key_end < first_own + plane_rows;
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
                n_queries,
                chunks,
                n_units,
            );
            copy_rows(
                output_grad,
                &mut grads,
                0,
                batch,
                head,
                segment.query_start,
                last_query,
                n_queries,
                chunks,
                n_units,
            );
            copy_row_sums(
                log_sum_exp,
                &mut log_sums,
                0,
                row_base,
                segment.query_start,
                last_query,
                n_queries,
            );
            copy_row_sums(
                delta,
                &mut deltas,
                0,
                row_base,
                segment.query_start,
                last_query,
                n_queries,
            );
            cp_async_commit();
            for tile in 0..n_tiles {
                let first_query = segment.query_start + tile * n_queries;
                let stage = (tile % 2) * n_queries;
                cp_async_wait(0usize);
                // The tile is there for all units, and none reads the one before any more.
                sync_cube();
                if tile + 1 < n_tiles {
                    let next = n_queries - stage;
                    let from = first_query + n_queries;
                    copy_rows(
                        query,
                        &mut queries,
                        next,
                        batch,
                        head,
                        from,
                        last_query,
                        n_queries,
                        chunks,
                        n_units,
                    );
                    copy_rows(
                        output_grad,
                        &mut grads,
                        next,
                        batch,
                        head,
                        from,
                        last_query,
                        n_queries,
                        chunks,
                        n_units,
                    );
                    copy_row_sums(
                        log_sum_exp,
                        &mut log_sums,
                        next,
                        row_base,
                        from,
                        last_query,
                        n_queries,
                    );
                    copy_row_sums(
                        delta,
                        &mut deltas,
                        next,
                        row_base,
                        from,
                        last_query,
                        n_queries,
                    );
                }
                cp_async_commit();
                if works {
                    for part_index in 0..n_queries / part {
                        let part_row = stage + part_index * part;
                        let part_query = first_query + part_index * part;
                        let mut scores = zero_tiles(comptime![halves * (part / 8)]);
                        let mut weight_grads = zero_tiles(comptime![halves * (part / 8)]);
                        #[unroll]
                        for step in 0..steps {
                            #[unroll]
                            for pair in 0..comptime![part / 16] {
                                let row = part_row + 16 * pair;
                                let (first, second) = load_right::<E>(&queries, row, step, chunks);
                                #[unroll]
                                for half in 0..halves {
                                    let left = keys.index(half * steps + step);
                                    let at = comptime![half * (part / 8) + 2 * pair];
                                    multiply::<E>(left, &first, scores.index_mut(at));
                                    multiply::<E>(left, &second, scores.index_mut(at + 1));
                                }
                                let (first, second) = load_right::<E>(&grads, row, step, chunks);
                                #[unroll]
                                for half in 0..halves {
                                    let left = values.index(half * steps + step);
                                    let at = comptime![half * (part / 8) + 2 * pair];
                                    multiply::<E>(left, &first, weight_grads.index_mut(at));
                                    multiply::<E>(left, &second, weight_grads.index_mut(at + 1));
                                }
                            }
                        }
                        let cuts = cuts_rows || part_query + part > segment.query_end;
                        #[unroll]
                        for n in 0..comptime![part / 8] {
                            let column = 8 * n + 2 * (lane % 4);
                            #[unroll]
                            for i in 0..2usize {
                                let log_sum = log_sums[part_row + column + i] * LOG2_E;
                                let delta = deltas[part_row + column + i];
                                #[unroll]
                                for slot in 0..comptime![2 * halves] {
                                    let tile = comptime![slot / 2 * (part / 8) + n];
                                    let r = comptime![slot % 2];
                                    let mut weights = scores.index(tile)[r];
                                    let mut score_grads = weight_grads.index(tile)[r];
                                    let mut weight =
                                        exp2(weights.extract(i) * scale_log2 - log_sum);
                                    if cuts {
                                        let row = first_own + 8 * slot + lane / 4;
                                        if row < segment.key_start
                                            || row >= segment.key_end
                                            || part_query + column + i >= segment.query_end
                                        {
                                            weight = f32::new(0.0);
                                        }
                                    }
                                    let grad = weight * (score_grads.extract(i) - delta);
                                    weights.insert(i, weight);
                                    score_grads.insert(i, grad);
                                    let scores = scores.index_mut(tile);
                                    scores[r] = weights;
                                    let weight_grads = weight_grads.index_mut(tile);
                                    weight_grads[r] = score_grads;
                                }
                            }
                        }
                        #[unroll]
                        for step in 0..comptime![part / 16] {
                            let mut weights = Sequence::<Array<Pair<E>>>::new();
                            let mut score_grads = Sequence::<Array<Pair<E>>>::new();
                            #[unroll]
                            for half in 0..halves {
                                let at = comptime![half * (part / 8) + 2 * step];
                                weights.push(as_left::<E>(scores.index(at), scores.index(at + 1)));
                                let (first, second) =
                                    (weight_grads.index(at), weight_grads.index(at + 1));
                                score_grads.push(as_left::<E>(first, second));
                            }
                            #[unroll]
                            for pair in 0..steps {
                                let row = part_row + 16 * step;
                                let (first, second) =
                                    load_right_transposed::<E>(&grads, row, pair, chunks);
                                #[unroll]
                                for half in 0..halves {
                                    let left = weights.index(half);
                                    let at = comptime![half * chunks + 2 * pair];
                                    multiply::<E>(left, &first, value_sum.index_mut(at));
                                    multiply::<E>(left, &second, value_sum.index_mut(at + 1));
                                }
                                let (first, second) =
                                    load_right_transposed::<E>(&queries, row, pair, chunks);
                                #[unroll]
                                for half in 0..halves {
                                    let left = score_grads.index(half);
                                    let at = comptime![half * chunks + 2 * pair];
                                    multiply::<E>(left, &first, key_sum.index_mut(at));
                                    multiply::<E>(left, &second, key_sum.index_mut(at + 1));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    // Both gradients are contiguous and of one shape.
    let base = (batch * key_grad.stride(0) + head * key_grad.stride(2)) / 2;
    #[unroll]
    for slot in 0..comptime![2 * halves] {
        let row = first_own + 8 * slot + lane / 4;
        if row < key_len {
            let at = base + row * (key_grad.stride(1) / 2) + lane % 4;
            #[unroll]
            for n in 0..chunks {
                let tile = comptime![slot / 2 * chunks + n];
                let r = comptime![slot % 2];
                let pair = key_sum.index(tile)[r];
                key_grad[at + 4 * n] = Vector::cast_from(pair * Vector::new(scale));
                value_grad[at + 4 * n] = Vector::cast_from(value_sum.index(tile)[r]);
            }
        }
    }
}

/// The gradients of keys and values.
pub(super) fn key_value_grad(input: &BackwardInput, delta: CubeTensor) -> (CubeTensor, CubeTensor) {
    let sizes = Sizes::new(&input.query, &input.key);
    let tiling = Tiling::of_key_value_grad(sizes.head_dim);
    let key = &input.key;
    let client = key.client.clone();
    let [key_grad, value_grad] = [key, &input.value].map(|like| {
        let device = like.device.clone();
        empty_device_contiguous_dtype(client.clone(), device, like.shape(), like.dtype)
    });
    key_value_grad_kernel::launch(
        &client,
        sizes.grid(sizes.key_len, KEYS),
        CubeDim::new_1d(tiling.n_units(KEYS)),
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
        sizes.head_dim,
        tiling,
        dtypes(&input.query, &input.segments),
    );
    (key_grad, value_grad)
}
