//! The operation against float64 loops, and the laws it obeys, on every compiled backend.

#[cfg(feature = "autodiff")]
mod gradients;
mod half_precision;
mod oracle;
mod support;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use oracle::{Problem, Sizes};
use partition_attention::{GroupLayout, Segments, partition_attention};
use proptest::prelude::*;
use support::*;

/// Relative to `max(1, |expected|)`.
const F32_TOLERANCE: f64 = 1e-5;
const F64_TOLERANCE: f64 = 1e-12;

#[test]
fn small_problems_agree_with_float64_loops_on_every_backend() {
    for device in devices() {
        let problem = small_problem();
        let output = run(&problem, &device, DType::F32);
        assert_close("output", &output, &problem.output(), F32_TOLERANCE);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn output_agrees_with_float64_loops(problem in problems(130)) {
        let expected = problem.output();
        for device in devices() {
            let output = run(&problem, &device, DType::F32);
            assert_close("float32", &output, &expected, F32_TOLERANCE);
        }
        let output = run(&problem, &Device::flex(), DType::F64);
        assert_close("float64", &output, &expected, F64_TOLERANCE);
    }

    /// Tokens in the order of the sequence, groups as a mask: what the sorted form stands for.
    #[test]
    fn sorting_by_group_is_masking_by_group(
        groups in prop::collection::vec(any::<bool>(), 1..=40),
        is_across in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let device = Device::flex();
        let seq_len = groups.len();
        let sizes = Sizes { batch: 1, query_len: seq_len, key_len: seq_len, heads: 2, head_dim: 8 };
        // In the order of the sequence each query is a segment of its own, with all keys sorted
        // next to each other by hand.
        let problem = Problem::random(sizes, vec![vec![]], seed);
        let width = sizes.heads * sizes.head_dim;
        let mut expected = Vec::new();
        for (query, &group) in groups.iter().enumerate() {
            let keys: Vec<usize> =
                (0..seq_len).filter(|&key| (groups[key] == group) != is_across).collect();
            let rows = |values: &[f64]| keys
                .iter()
                .flat_map(|&key| values[key * width..(key + 1) * width].to_vec())
                .collect();
            let alone = Problem {
                sizes: Sizes { query_len: 1, key_len: keys.len(), ..sizes },
                query: problem.query[query * width..(query + 1) * width].to_vec(),
                key: rows(&problem.key),
                value: rows(&problem.value),
                segments: vec![vec![segment(0, 1, 0, keys.len())]],
            };
            expected.extend(alone.output());
        }

        let ids: Vec<i64> = groups.iter().map(|&group| group as i64).collect();
        let layout = GroupLayout::new(Tensor::from_data(TensorData::new(ids, [1, seq_len]), &device));
        let order = layout
            .sort(Tensor::<1, Int>::arange(0..seq_len as i64, &device).unsqueeze_dim(0))
            .squeeze_dim::<1>(0);
        let [query, key, value] = inputs(&problem, &device, DType::F32)
            .map(|x| x.select(1, order.clone()));
        let segments = if is_across { layout.across_groups() } else { layout.within_groups() };
        let sorted = partition_attention(query, key, value, &segments);
        let output = layout.unsort(sorted.reshape([1, seq_len, width]));
        assert_close("output", &host(output), &expected, F32_TOLERANCE);
    }
}

#[test]
fn queries_without_keys_give_zero() {
    for device in devices() {
        let mut problem = small_problem();
        problem.segments = vec![vec![segment(0, 3, 2, 0), segment(3, 2, 0, 4)]; 2];
        let output = run(&problem, &device, DType::F32);
        assert_close("output", &output, &problem.output(), F32_TOLERANCE);
        assert!(output[..3 * 16].iter().all(|&x| x == 0.0), "{output:?}");
    }
}

#[test]
fn queries_outside_every_segment_give_zero() {
    for device in devices() {
        let mut problem = small_problem();
        problem.segments = vec![vec![segment(1, 2, 0, 4), segment(4, 0, 0, 4)]; 2];
        let output = run(&problem, &device, DType::F32);
        assert_close("output", &output, &problem.output(), F32_TOLERANCE);
        for query in [0, 3, 4] {
            let row = &output[query * 16..(query + 1) * 16];
            assert!(row.iter().all(|&x| x == 0.0), "query {query}: {row:?}");
        }
    }
}

#[test]
fn logits_of_ten_thousand_pick_one_value() {
    for device in devices() {
        let problem = huge_problem();
        let mut largest = 0f64;
        problem.for_each_query(|query, keys, _| {
            let scores = keys.iter().map(|&key| problem.score(query, key).abs());
            largest = scores.fold(largest, f64::max);
        });
        assert!(largest > 1e4, "the largest logit is {largest}");
        let output = run(&problem, &device, DType::F32);
        assert_close("output", &output, &problem.output(), F32_TOLERANCE);
    }
}

#[test]
fn values_of_one_give_one() {
    for device in devices() {
        let mut problem = small_problem();
        problem.value.fill(1.0);
        for x in run(&problem, &device, DType::F32) {
            assert!((x - 1.0).abs() < 1e-6, "{x}");
        }
    }
}

#[test]
fn permuting_tokens_inside_a_group_permutes_outputs() {
    let device = Device::flex();
    let sizes = Sizes {
        batch: 1,
        query_len: 7,
        key_len: 7,
        heads: 2,
        head_dim: 8,
    };
    // Groups of 3 and 4 tokens; both are permuted.
    let order = Tensor::<1, Int>::from_ints([2, 0, 1, 5, 3, 6, 4], &device);
    let patterns = [
        vec![segment(0, 3, 0, 3), segment(3, 4, 3, 4)],
        vec![segment(0, 3, 3, 4), segment(3, 4, 0, 3)],
    ];
    for pattern in patterns {
        let problem = Problem::random(sizes, vec![pattern], 11);
        let segments = segments(&problem, &device);
        let [query, key, value] = inputs(&problem, &device, DType::F32);
        let output = partition_attention(query.clone(), key.clone(), value.clone(), &segments);
        let [query, key, value] = [query, key, value].map(|x| x.select(1, order.clone()));
        let permuted = partition_attention(query, key, value, &segments);
        let expected = host(output.select(1, order.clone()));
        assert_close("output", &host(permuted), &expected, F32_TOLERANCE);
    }
}

#[test]
fn output_is_the_same_bit_for_bit_in_every_run() {
    for device in devices() {
        let sizes = Sizes {
            batch: 2,
            query_len: 65,
            key_len: 70,
            heads: 2,
            head_dim: 32,
        };
        let pattern = vec![segment(0, 40, 0, 33), segment(40, 25, 33, 37)];
        let problem = Problem::random(sizes, vec![pattern; 2], 5);
        let first = run(&problem, &device, DType::F32);
        for _ in 0..3 {
            assert_eq!(first, run(&problem, &device, DType::F32));
        }
    }
}

#[test]
fn strided_inputs_equal_contiguous_ones() {
    for device in devices() {
        let mut problem = small_problem();
        problem.sizes.key_len = problem.sizes.query_len;
        let problem = Problem::random(problem.sizes, problem.segments, 9);
        let segments = segments(&problem, &device);
        let [query, key, value] = inputs(&problem, &device, DType::F32);
        let expected = partition_attention(query.clone(), key.clone(), value.clone(), &segments);
        let expected = host(expected);

        let packed: Tensor<5> = Tensor::stack(vec![query.clone(), key.clone(), value.clone()], 2);
        let part = |i: usize| packed.clone().narrow(2, i, 1).squeeze_dim::<4>(2);
        let output = partition_attention(part(0), part(1), part(2), &segments);
        assert_close(
            "slices of a packed projection",
            &host(output),
            &expected,
            1e-6,
        );

        // Heads before tokens in memory, and features before heads.
        let strided = |x: Tensor<4>| host_round_trip(x.swap_dims(1, 2), &device).swap_dims(1, 2);
        let output = partition_attention(strided(query), strided(key), strided(value), &segments);
        assert_close("swapped tokens and heads", &host(output), &expected, 1e-6);
        let [query, key, value] = inputs(&problem, &device, DType::F32);
        let strided = |x: Tensor<4>| host_round_trip(x.swap_dims(2, 3), &device).swap_dims(2, 3);
        let output = partition_attention(strided(query), strided(key), strided(value), &segments);
        assert_close("swapped heads and features", &host(output), &expected, 1e-6);
    }
}

#[test]
#[should_panic(expected = "query is [2, 5, 2, 8], key is [2, 4, 1, 8]")]
fn keys_with_other_heads_are_refused_with_the_numbers() {
    let device = Device::flex();
    let segments = segments(&small_problem(), &device);
    let key = zeros([2, 4, 1, 8]);
    partition_attention(zeros([2, 5, 2, 8]), key.clone(), key, &segments);
}

#[test]
#[should_panic(expected = "value is [2, 3, 2, 8], key is [2, 4, 2, 8]")]
fn values_of_another_length_are_refused_with_the_numbers() {
    let device = Device::flex();
    let segments = segments(&small_problem(), &device);
    partition_attention(
        zeros([2, 5, 2, 8]),
        zeros([2, 4, 2, 8]),
        zeros([2, 3, 2, 8]),
        &segments,
    );
}

#[test]
#[should_panic(expected = "segments are for a batch of 2, query is for 3")]
fn segments_of_another_batch_are_refused_with_the_numbers() {
    let device = Device::flex();
    let segments = segments(&small_problem(), &device);
    partition_attention(
        zeros([3, 5, 2, 8]),
        zeros([3, 4, 2, 8]),
        zeros([3, 4, 2, 8]),
        &segments,
    );
}

#[test]
#[should_panic(expected = "got 3")]
fn tables_of_another_width_are_refused_with_the_number() {
    Segments::from_table(Tensor::<3, Int>::zeros([2, 1, 3], &Device::flex()));
}
