use super::fragments::{
    Chunk, Pair, as_left, exp2, load_left, load_right, load_right_transposed, multiply, zero_tiles,
};
use super::staging::{commit, copy_rows, wait};
use super::*;
use crate::kernels::segment_table::rectangle;

/// Keys of a cube: a tile of 16 for each plane.
const KEYS: usize = 128;
const UNITS: usize = KEYS * 2;

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
    #[comptime] n_queries: usize,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let chunks = comptime![head_dim / 8];
    let steps = comptime![head_dim / 16];
    let scale_log2 = scale * LOG2_E;
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let unit = UNIT_POS_X as usize;
    let lane = unit % 32;
    let plane_row = unit / 32 * 16;
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
        UNITS,
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
        UNITS,
    );
    commit();
    wait(0usize);
    sync_cube();
    let mut keys = Sequence::<Array<Pair<E>>>::new();
    let mut values = Sequence::<Array<Pair<E>>>::new();
    #[unroll]
    for step in 0..steps {
        keys.push(load_left::<E>(&queries, plane_row, step, chunks));
        values.push(load_left::<E>(&grads, plane_row, step, chunks));
    }
    sync_cube();

    let mut key_sum = zero_tiles(chunks);
    let mut value_sum = zero_tiles(chunks);
    for index in 0..segments.shape(1) {
        let segment = rectangle(segments, batch, index);
        let is_met = segment.key_start < first_key + KEYS
            && segment.key_end > first_key
            && segment.query_start < segment.query_end;
        if is_met {
            let last_query = segment.query_end - 1;
            let n_tiles = (segment.query_end - segment.query_start).div_ceil(n_queries);
            let works = segment.key_start < first_own + 16 && segment.key_end > first_own;
            let cuts_rows = segment.key_start > first_own || segment.key_end < first_own + 16;
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
                n_queries,
                chunks,
                UNITS,
            );
            commit();
            for tile in 0..n_tiles {
                let first_query = segment.query_start + tile * n_queries;
                let stage = (tile % 2) * n_queries;
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
                        n_queries,
                        chunks,
                        UNITS,
                    );
                }
                commit();
                if unit < n_queries {
                    let row = row_base + min(first_query + unit, last_query);
                    log_sums[stage + unit] = log_sum_exp[row] * LOG2_E;
                    deltas[stage + unit] = delta[row];
                }
                wait(1usize);
                sync_cube();
                if works {
                    let mut scores = zero_tiles(comptime![n_queries / 8]);
                    let mut weight_grads = zero_tiles(comptime![n_queries / 8]);
                    #[unroll]
                    for step in 0..steps {
                        #[unroll]
                        for pair in 0..comptime![n_queries / 16] {
                            let row = stage + 16 * pair;
                            let at = comptime![2 * pair];
                            let (first, second) = load_right::<E>(&queries, row, step, chunks);
                            let left = keys.index(step);
                            multiply::<E>(left, &first, scores.index_mut(at));
                            multiply::<E>(left, &second, scores.index_mut(at + 1));
                            let (first, second) = load_right::<E>(&grads, row, step, chunks);
                            let left = values.index(step);
                            multiply::<E>(left, &first, weight_grads.index_mut(at));
                            multiply::<E>(left, &second, weight_grads.index_mut(at + 1));
                        }
                    }
                    let cuts = cuts_rows || first_query + n_queries > segment.query_end;
                    #[unroll]
                    for n in 0..comptime![n_queries / 8] {
                        let column = 8 * n + 2 * (lane % 4);
                        #[unroll]
                        for r in 0..2usize {
                            let score = scores.index(n)[r];
                            let weight_grad = weight_grads.index(n)[r];
                            let mut weights = Pair::<f32>::new(0.0);
                            let mut score_grads = Pair::<f32>::new(0.0);
                            #[unroll]
                            for i in 0..2usize {
                                let at = stage + column + i;
                                let mut weight = exp2(score.extract(i) * scale_log2 - log_sums[at]);
                                if cuts {
                                    let row = first_own + 8 * r + lane / 4;
                                    if row < segment.key_start
                                        || row >= segment.key_end
                                        || first_query + column + i >= segment.query_end
                                    {
                                        weight = f32::new(0.0);
                                    }
                                }
                                weights.insert(i, weight);
                                let grad = weight * (weight_grad.extract(i) - deltas[at]);
                                score_grads.insert(i, grad);
                            }
                            let scores = scores.index_mut(n);
                            scores[r] = weights;
                            let weight_grads = weight_grads.index_mut(n);
                            weight_grads[r] = score_grads;
                        }
                    }
                    #[unroll]
                    for step in 0..comptime![n_queries / 16] {
                        let at = comptime![2 * step];
                        let weights = as_left::<E>(scores.index(at), scores.index(at + 1));
                        let score_grads =
                            as_left::<E>(weight_grads.index(at), weight_grads.index(at + 1));
                        #[unroll]
                        for pair in 0..steps {
                            let row = stage + 16 * step;
                            let at = comptime![2 * pair];
                            let (first, second) =
                                load_right_transposed::<E>(&grads, row, pair, chunks);
                            multiply::<E>(&weights, &first, value_sum.index_mut(at));
                            multiply::<E>(&weights, &second, value_sum.index_mut(at + 1));
                            let (first, second) =
                                load_right_transposed::<E>(&queries, row, pair, chunks);
                            multiply::<E>(&score_grads, &first, key_sum.index_mut(at));
                            multiply::<E>(&score_grads, &second, key_sum.index_mut(at + 1));
                        }
                    }
                }
                sync_cube();
            }
        }
    }

    // Both gradients are contiguous and of one shape.
    let base = (batch * key_grad.stride(0) + head * key_grad.stride(2)) / 2;
    #[unroll]
    for r in 0..2usize {
        let row = first_own + 8 * r + lane / 4;
        if row < key_len {
            let at = base + row * (key_grad.stride(1) / 2) + lane % 4;
            #[unroll]
            for n in 0..chunks {
                let pair = key_sum.index(n)[r];
                key_grad[at + 4 * n] = Vector::cast_from(pair * Vector::new(scale));
                value_grad[at + 4 * n] = Vector::cast_from(value_sum.index(n)[r]);
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
        sizes.head_dim,
        backward_rows(&sizes),
        dtypes(&input.query, &input.segments),
    );
    (key_grad, value_grad)
}
