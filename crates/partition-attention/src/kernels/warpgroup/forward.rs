use super::wgmma::{MATRIX_BYTES, add_product_of_rows, address, fence_async_proxy, product, zeros};
use super::*;
use crate::kernels::segment_table::rectangle;
use crate::kernels::tensor_core::async_copy::{copy_rows, cp_async_commit, cp_async_wait};
use crate::kernels::tensor_core::fragments::{Chunk, Pair, exp2};

/// Queries of a cube.
const QUERIES: usize = 64;
/// Keys of a step.
const KEYS: usize = 64;
/// Bits that a score may exceed the largest one of before, until sums are scaled anew.
const SLACK: f32 = 8.0;
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
    #[comptime] operand_dtype: OperandDtype,
    #[define(E, I)] _dtypes: [ElemType; 2],
) {
    let format = comptime![operand_dtype.ptx()];
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let lane = UNIT_POS_X as usize % 32;
    let own_row = UNIT_POS_X as usize / 32 * 16 + lane / 4;
    let first_query = CUBE_POS_X as usize * QUERIES;
    let query_len = query.shape(1);

    let mut queries = Shared::<[Chunk<E>]>::new_aligned_slice(QUERIES * CHUNKS, ALIGNMENT);
    // Two stages of each.
    let mut keys = Shared::<[Chunk<E>]>::new_aligned_slice(2 * KEYS * CHUNKS, ALIGNMENT);
    let mut values = Shared::<[Chunk<E>]>::new_aligned_slice(2 * KEYS * CHUNKS, ALIGNMENT);
    copy_rows(
        query,
        &mut queries,
        0,
        batch,
        head,
        first_query,
        query_len - 1,
        QUERIES,
        CHUNKS,
        UNITS,
    );
    let query_at = address::<E>(&queries);
    let key_at = address::<E>(&keys);
    let value_at = address::<E>(&values);

    let mut accumulated = zeros();
    // Of the two rows of a lane.
    let mut largest = Array::<f32>::new(2usize);
    let mut total = Array::<f32>::new(2usize);
    #[unroll]
    for r in 0..2usize {
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
                let mut scores = product(query_at, key_at + offset, format);
                if cuts {
                    #[unroll]
                    for n in 0..8usize {
                        #[unroll]
                        for r in 0..2usize {
                            let row = first_query + own_row + 8 * r;
                            let is_row = row >= segment.query_start && row < segment.query_end;
                            #[unroll]
                            for i in 0..2usize {
                                let column = first_key + 8 * n + 2 * (lane % 4) + i;
                                if !is_row || column >= segment.key_end {
                                    let at = comptime![4 * n + 2 * r + i];
                                    scores.insert(at, f32::new(LOWEST));
                                }
                            }
                        }
                    }
                }
                let mut weights = Array::<Pair<E>>::new(16usize);
                let mut shrinks = Array::<f32>::new(2usize);
                let mut shifts = Array::<f32>::new(2usize);
                let mut grows = false;
                #[unroll]
                for r in 0..2usize {
                    let mut even = f32::new(LOWEST);
                    let mut odd = f32::new(LOWEST);
                    #[unroll]
                    for n in 0..8usize {
                        even = max(even, scores.extract(comptime![4 * n + 2 * r]));
                        odd = max(odd, scores.extract(comptime![4 * n + 2 * r + 1]));
                    }
                    let mut row_max = max(even, odd);
                    row_max = max(row_max, plane_shuffle_xor(row_max, 1u32));
                    row_max = max(row_max, plane_shuffle_xor(row_max, 2u32));
                    let found = row_max * scale_log2;
                    let before = largest[r];
                    if found > before + SLACK {
                        largest[r] = found;
                        grows = true;
                    }
                    // A row that has read nothing keeps weights of 0.
                    let mut shift = largest[r];
                    if shift < LOWEST * 1e-3 {
                        shift = f32::new(0.0);
                    }
                    shrinks[r] = before - shift;
                    shifts[r] = shift;
                }
                if plane_any(grows) {
                    #[unroll]
                    for r in 0..2usize {
                        let shrink = exp2(shrinks[r]);
                        total[r] *= shrink;
                        #[unroll]
                        for n in 0..8usize {
                            accumulated[comptime![4 * n + 2 * r]] *= shrink;
                            accumulated[comptime![4 * n + 2 * r + 1]] *= shrink;
                        }
                    }
                }
                #[unroll]
                for r in 0..2usize {
                    let shift = shifts[r];
                    let mut even = f32::new(0.0);
                    let mut odd = f32::new(0.0);
                    #[unroll]
                    for n in 0..8usize {
                        let at = comptime![4 * n + 2 * r];
                        let a = exp2(scores.extract(at) * scale_log2 - shift);
                        let b = exp2(scores.extract(comptime![at + 1]) * scale_log2 - shift);
                        even += a;
                        odd += b;
                        let mut pair = Pair::<f32>::new(a);
                        pair.insert(1usize, b);
                        weights[comptime![2 * n + r]] = Vector::cast_from(pair);
                    }
                    total[r] += even + odd;
                }
                add_product_of_rows::<E>(&mut accumulated, &weights, value_at + offset, format);
            }
        }
    }

    let base = (batch * output.stride(0) + head * output.stride(2)) / 2;
    #[unroll]
    for r in 0..2usize {
        let mut sum = total[r];
        sum += plane_shuffle_xor(sum, 1u32);
        sum += plane_shuffle_xor(sum, 2u32);
        let row = first_query + own_row + 8 * r;
        if row < query_len {
            let mut norm = f32::new(0.0);
            if sum > 0.0 {
                norm = 1.0 / sum;
            }
            let at = base + row * (output.stride(1) / 2) + lane % 4;
            #[unroll]
            for n in 0..8usize {
                let from = comptime![4 * n + 2 * r];
                let mut pair = Pair::<f32>::new(accumulated[from] * norm);
                pair.insert(1usize, accumulated[comptime![from + 1]] * norm);
                output[at + 4 * n] = Vector::cast_from(pair);
            }
            if lane % 4 == 0 {
                let at = (batch * log_sum_exp.shape(1) + head) * query_len + row;
                log_sum_exp[at] = (largest[r] + sum.ln() * LOG2_E) / LOG2_E;
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
        CubeDim::new_1d(UNITS as u32),
        readable(query, 8).into_tensor_arg(),
        readable(key, 8).into_tensor_arg(),
        readable(value, 8).into_tensor_arg(),
        segments.into_tensor_arg(),
        output.clone().into_tensor_arg(),
        log_sum_exp.clone().into_tensor_arg(),
        sizes.scale() * LOG2_E,
        OperandDtype::from_dtype(dtype),
        dtypes,
    );
    (output, log_sum_exp)
}
