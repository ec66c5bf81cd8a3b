use super::async_copy::{copy_rows, cp_async_commit, cp_async_wait};
use super::fragments::{
    Chunk, Pair, as_left, exp2, load_left, load_right, load_right_transposed, multiply, zero_tiles,
};
use super::*;
use crate::kernels::segment_table::rectangle;

/// Queries of a cube.
const QUERIES: usize = 128;
/// Keys of a step.
const KEYS: usize = 64;
/// Below every score.
const LOWEST: f32 = -1e30;

/// Output and log-sum-exp of a tile of queries, by online softmax.
#[cube(launch)]
fn forward_kernel<E: Float, I: Numeric>(
    query: &Tensor<Chunk<E>>,
    key: &Tensor<Chunk<E>>,
    value: &Tensor<Chunk<E>>,
    segments: &Tensor<I>,
    output: &mut Tensor<Pair<E>>,
    log_sum_exp: &mut Tensor<f32>,
    scale_log2: f32,
    #[comptime] head_dim: usize,
    #[comptime] halves: usize,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let chunks = comptime![head_dim / 8];
    let steps = comptime![head_dim / 16];
    // A plane owns one or two tiles of 16 queries.
    let plane_rows = comptime![16 * halves];
    let n_units = comptime![QUERIES / plane_rows * 32];
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let lane = UNIT_POS_X as usize % 32;
    let plane_row = UNIT_POS_X as usize / 32 * plane_rows;
    let first_query = CUBE_POS_X as usize * QUERIES;
    let first_own = first_query + plane_row;
    let query_len = query.shape(1);

    // Two stages of each; the queries come first, through the stages of the keys.
    let mut keys = Shared::<[Chunk<E>]>::new_aligned_slice(2 * KEYS * chunks, 16usize);
    let mut values = Shared::<[Chunk<E>]>::new_aligned_slice(2 * KEYS * chunks, 16usize);
    copy_rows(
        query,
        &mut keys,
        0,
        batch,
        head,
        first_query,
        query_len - 1,
        QUERIES,
        chunks,
        n_units,
    );
    cp_async_commit();
    cp_async_wait(0usize);
    sync_cube();
    let mut queries = Sequence::<Array<Pair<E>>>::new();
    #[unroll]
    for half in 0..halves {
        #[unroll]
        for step in 0..steps {
            queries.push(load_left::<E>(&keys, plane_row + 16 * half, step, chunks));
        }
    }

    let mut accumulated = zero_tiles(comptime![halves * chunks]);
    // Of the four rows of a lane.
    let mut largest = Array::<f32>::new(comptime![2 * halves]);
    let mut total = Array::<f32>::new(comptime![2 * halves]);
    #[unroll]
    for r in 0..comptime![2 * halves] {
        largest[r] = f32::new(LOWEST);
        total[r] = f32::new(0.0);
    }

    for index in 0..segments.shape(1) {
        let segment = rectangle(segments, batch, index);
        let is_met = segment.query_start < first_query + QUERIES
            && segment.query_end > first_query
            && segment.key_start < segment.key_end;
        if is_met {
            let last_key = segment.key_end - 1;
            let n_tiles = (segment.key_end - segment.key_start).div_ceil(KEYS);
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
                KEYS,
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
                KEYS,
                chunks,
                n_units,
            );
            cp_async_commit();
            for tile in 0..n_tiles {
                let first_key = segment.key_start + tile * KEYS;
                let stage = (tile % 2) * KEYS;
                cp_async_wait(0usize);
                // The tile is there for all units, and none reads the one before any more.
                sync_cube();
                if tile + 1 < n_tiles {
                    let next = KEYS - stage;
                    copy_rows(
                        key,
                        &mut keys,
                        next,
                        batch,
                        head,
                        first_key + KEYS,
                        last_key,
                        KEYS,
                        chunks,
                        n_units,
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
                        chunks,
                        n_units,
                    );
                }
                cp_async_commit();
                if works {
                    let mut scores = zero_tiles(comptime![halves * (KEYS / 8)]);
                    #[unroll]
                    for step in 0..steps {
                        #[unroll]
                        for pair in 0..KEYS / 16 {
                            let (first, second) =
                                load_right::<E>(&keys, stage + 16 * pair, step, chunks);
                            #[unroll]
                            for half in 0..halves {
                                let left = queries.index(half * steps + step);
                                let at = comptime![half * (KEYS / 8) + 2 * pair];
                                multiply::<E>(left, &first, scores.index_mut(at));
                                multiply::<E>(left, &second, scores.index_mut(at + 1));
                            }
                        }
                    }
                    let cuts = cuts_rows || first_key + KEYS > segment.key_end;
                    if cuts {
                        #[unroll]
                        for half in 0..halves {
                            #[unroll]
                            for n in 0..KEYS / 8 {
                                let scores = scores.index_mut(half * (KEYS / 8) + n);
                                #[unroll]
                                for r in 0..2usize {
                                    let row = first_own + 16 * half + 8 * r + lane / 4;
                                    let is_row =
                                        row >= segment.query_start && row < segment.query_end;
                                    let column = first_key + 8 * n + 2 * (lane % 4);
                                    let mut pair = scores[r];
                                    if !is_row || column >= segment.key_end {
                                        pair.insert(0usize, f32::new(LOWEST));
                                    }
                                    if !is_row || column + 1 >= segment.key_end {
                                        pair.insert(1usize, f32::new(LOWEST));
                                    }
                                    scores[r] = pair;
                                }
                            }
                        }
                    }
                    #[unroll]
                    for half in 0..halves {
                        #[unroll]
                        for r in 0..2usize {
                            let slot = comptime![2 * half + r];
                            let mut row_max = f32::new(LOWEST);
                            #[unroll]
                            for n in 0..KEYS / 8 {
                                let pair = scores.index(half * (KEYS / 8) + n)[r];
                                row_max =
                                    max(row_max, max(pair.extract(0usize), pair.extract(1usize)));
                            }
                            row_max = max(row_max, plane_shuffle_xor(row_max, 1u32));
                            row_max = max(row_max, plane_shuffle_xor(row_max, 2u32));
                            let new_largest = max(largest[slot], row_max * scale_log2);
                            // A row that has read nothing keeps weights of 0.
                            let mut shift = new_largest;
                            if new_largest < LOWEST * 1e-3 {
                                shift = f32::new(0.0);
                            }
                            let shrink = exp2(largest[slot] - shift);
                            largest[slot] = new_largest;
                            let mut row_sum = f32::new(0.0);
                            #[unroll]
                            for n in 0..KEYS / 8 {
                                let scores = scores.index_mut(half * (KEYS / 8) + n);
                                let pair = scores[r];
                                let a = exp2(pair.extract(0usize) * scale_log2 - shift);
                                let b = exp2(pair.extract(1usize) * scale_log2 - shift);
                                row_sum += a + b;
                                let mut weights = Pair::<f32>::new(a);
                                weights.insert(1usize, b);
                                scores[r] = weights;
                            }
                            total[slot] = total[slot] * shrink + row_sum;
                            #[unroll]
                            for n in 0..chunks {
                                let tile = accumulated.index_mut(half * chunks + n);
                                tile[r] *= Vector::new(shrink);
                            }
                        }
                    }
                    #[unroll]
                    for step in 0..KEYS / 16 {
                        let mut weights = Sequence::<Array<Pair<E>>>::new();
                        #[unroll]
                        for half in 0..halves {
                            let at = comptime![half * (KEYS / 8) + 2 * step];
                            weights.push(as_left::<E>(scores.index(at), scores.index(at + 1)));
                        }
                        #[unroll]
                        for pair in 0..steps {
                            let (first, second) = load_right_transposed::<E>(
                                &values,
                                stage + 16 * step,
                                pair,
                                chunks,
                            );
                            #[unroll]
                            for half in 0..halves {
                                let left = weights.index(half);
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

    let base = (batch * output.stride(0) + head * output.stride(2)) / 2;
    #[unroll]
    for half in 0..halves {
        #[unroll]
        for r in 0..2usize {
            let slot = comptime![2 * half + r];
            let mut sum = total[slot];
            sum += plane_shuffle_xor(sum, 1u32);
            sum += plane_shuffle_xor(sum, 2u32);
            let row = first_own + 16 * half + 8 * r + lane / 4;
            if row < query_len {
                let mut norm = f32::new(0.0);
                if sum > 0.0 {
                    norm = 1.0 / sum;
                }
                let at = base + row * (output.stride(1) / 2) + lane % 4;
                #[unroll]
                for n in 0..chunks {
                    let pair = accumulated.index(half * chunks + n)[r];
                    output[at + 4 * n] = Vector::cast_from(pair * Vector::new(norm));
                }
                if lane % 4 == 0 {
                    let at = (batch * log_sum_exp.shape(1) + head) * query_len + row;
                    log_sum_exp[at] = (largest[slot] + sum.ln() * LOG2_E) / LOG2_E;
                }
            }
        }
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
    // More rows a plane read shared memory less often, as far as registers suffice.
    let halves = if sizes.head_dim <= 64 { 2 } else { 1 };
    let (client, device) = (query.client.clone(), query.device.clone());
    let (dtype, shape) = (query.dtype, query.shape());
    let segments = into_contiguous(segments);
    let dtypes = dtypes(&query, &segments);
    let output = empty_device_contiguous_dtype(client.clone(), device.clone(), shape, dtype);
    let rows = Shape::from([sizes.batch, sizes.heads, sizes.query_len, 1]);
    let log_sum_exp = empty_device_contiguous_dtype(client.clone(), device, rows, DType::F32);
    forward_kernel::launch(
        &client,
        sizes.grid(sizes.query_len, QUERIES),
        CubeDim::new_1d((QUERIES / (16 * halves) * 32) as u32),
        readable(query, 8).into_tensor_arg(),
        readable(key, 8).into_tensor_arg(),
        readable(value, 8).into_tensor_arg(),
        segments.into_tensor_arg(),
        output.clone().into_tensor_arg(),
        log_sum_exp.clone().into_tensor_arg(),
        sizes.scale() * LOG2_E,
        sizes.head_dim,
        halves,
        dtypes,
    );
    (output, log_sum_exp)
}
