//! The operation against float64 loops, and the laws it obeys, on every compiled backend.

mod oracle;

use burn::tensor::{DType, Device, Int, Tensor, TensorData, bf16, f16};
use oracle::{Noise, Problem, Sizes};
use partition_attention::{GroupLayout, Segment, Segments, partition_attention};
use proptest::prelude::*;

/// Relative to `max(1, |expected|)`.
const F32_TOLERANCE: f64 = 1e-5;
const F64_TOLERANCE: f64 = 1e-12;

/// The backends that are compiled in.
fn devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    ]
}

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
        let output = run(&problem, &Device::flex(), DType::F32);
        assert_close("float32", &output, &expected, F32_TOLERANCE);
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

/// The dense implementation keeps scores, weights and outputs in half precision, and sums in
/// float32 (here float64, which only lowers its error).
#[test]
fn half_precision_errs_at_most_twice_as_much_as_a_dense_implementation() {
    let f16 = |x: f64| f16::from_f64(x).to_f64();
    let bf16 = |x: f64| bf16::from_f64(x).to_f64();
    let formats: [(DType, &dyn Fn(f64) -> f64); 2] = [(DType::F16, &f16), (DType::BF16, &bf16)];
    for (dtype, round) in formats {
        let sizes = Sizes {
            batch: 2,
            query_len: 60,
            key_len: 100,
            heads: 2,
            head_dim: 64,
        };
        let pattern = vec![segment(0, 40, 0, 33), segment(40, 20, 33, 67)];
        let problem = Problem::random(sizes, vec![pattern; 2], 21).map(round);
        let expected = problem.output();
        let ours = root_mean_square(&run(&problem, &Device::flex(), dtype), &expected);
        let dense = root_mean_square(&dense_output(&problem, round), &expected);
        println!("{dtype:?}: error {ours:.2e}, dense {dense:.2e}");
        assert!(
            ours > 0.0 && ours <= 2.0 * dense,
            "{dtype:?}: {ours:e}, dense {dense:e}"
        );
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

#[cfg(feature = "autodiff")]
mod gradients {
    use super::*;

    /// Relative to `max(1, |expected|)`, as [`F32_TOLERANCE`].
    const TOLERANCE: f64 = 2e-5;

    #[test]
    fn the_loops_own_gradients_are_central_differences() {
        const STEP: f64 = 1e-5;
        let problem = small_problem();
        let output_grad = output_grad(&problem);
        let loss = |problem: &Problem| -> f64 {
            let output = problem.output();
            output.iter().zip(&output_grad).map(|(a, b)| a * b).sum()
        };
        let difference = |select: fn(&mut Problem) -> &mut Vec<f64>, i: usize| {
            let mut shifted = problem.clone();
            select(&mut shifted)[i] += STEP;
            let above = loss(&shifted);
            select(&mut shifted)[i] -= 2.0 * STEP;
            (above - loss(&shifted)) / (2.0 * STEP)
        };
        let gradients = problem.gradients(&output_grad);
        /// One of the inputs, to be changed.
        type Values = fn(&mut Problem) -> &mut Vec<f64>;
        let cases: [(&str, &[f64], Values); 3] = [
            ("query", &gradients.query, |p| &mut p.query),
            ("key", &gradients.key, |p| &mut p.key),
            ("value", &gradients.value, |p| &mut p.value),
        ];
        for (what, gradient, select) in cases {
            let differences: Vec<f64> =
                (0..gradient.len()).map(|i| difference(select, i)).collect();
            assert_close(what, gradient, &differences, 1e-8);
        }
    }

    #[test]
    fn small_problems_agree_with_float64_loops_on_every_backend() {
        for device in devices() {
            check(&small_problem(), &device, DType::F32, TOLERANCE);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

        #[test]
        fn gradients_agree_with_float64_loops(problem in problems(130)) {
            check(&problem, &Device::flex(), DType::F32, TOLERANCE);
            check(&problem, &Device::flex(), DType::F64, F64_TOLERANCE);
        }
    }

    #[test]
    fn queries_without_keys_have_no_gradients() {
        for device in devices() {
            let mut problem = small_problem();
            problem.segments = vec![vec![segment(0, 3, 2, 0)]; 2];
            let gradients = run_backward(&problem, &device, DType::F32);
            for gradient in [gradients.query, gradients.key, gradients.value] {
                assert!(gradient.iter().all(|&x| x == 0.0), "{gradient:?}");
            }
        }
    }

    #[test]
    fn logits_of_ten_thousand_have_finite_gradients() {
        for device in devices() {
            let problem = huge_problem();
            let gradients = run_backward(&problem, &device, DType::F32);
            let expected = problem.gradients(&output_grad(&problem));
            // Each query reads one key, so that scores have no gradient and values have all of it.
            assert_close("value", &gradients.value, &expected.value, TOLERANCE);
            for gradient in [gradients.query, gradients.key] {
                assert!(gradient.iter().all(|x| x.is_finite()), "{gradient:?}");
            }
        }
    }

    #[test]
    fn gradients_are_the_same_bit_for_bit_in_every_run() {
        for device in devices() {
            let problem = small_problem();
            let first = run_backward(&problem, &device, DType::F32);
            let second = run_backward(&problem, &device, DType::F32);
            assert_eq!(first.query, second.query);
            assert_eq!(first.key, second.key);
            assert_eq!(first.value, second.value);
        }
    }

    #[test]
    fn inputs_that_are_not_tracked_need_no_gradients() {
        let problem = small_problem();
        let device = Device::flex().autodiff();
        let [query, key, value] = inputs(&problem, &device, DType::F32);
        let key = key.require_grad();
        let segments = segments(&problem, &device);
        let output = partition_attention(query, key.clone(), value, &segments);
        let weights = tensor(&output_grad(&problem), output.dims(), &device, DType::F32);
        let grads = (output * weights).sum().backward();
        let expected = problem.gradients(&output_grad(&problem)).key;
        let gradient = host(key.grad(&grads).expect("a gradient"));
        assert_close("key", &gradient, &expected, TOLERANCE);
    }

    #[test]
    fn half_precision_gradients_are_those_of_rounded_inputs() {
        let problem = small_problem().map(|x| bf16::from_f64(x).to_f64());
        let gradients = run_backward(&problem, &Device::flex(), DType::BF16);
        let weights: Vec<f64> = output_grad(&problem)
            .iter()
            .map(|&x| bf16::from_f64(x).to_f64())
            .collect();
        let expected = problem.gradients(&weights);
        // The output that the backward pass starts from, and each gradient, are rounded to 8 bits.
        let tolerance = 3.0 * 2f64.powi(-8);
        assert_close("query", &gradients.query, &expected.query, tolerance);
        assert_close("key", &gradients.key, &expected.key, tolerance);
        assert_close("value", &gradients.value, &expected.value, tolerance);
    }

    fn check(problem: &Problem, device: &Device, dtype: DType, tolerance: f64) {
        let gradients = run_backward(problem, device, dtype);
        let expected = problem.gradients(&output_grad(problem));
        assert_close("query", &gradients.query, &expected.query, tolerance);
        assert_close("key", &gradients.key, &expected.key, tolerance);
        assert_close("value", &gradients.value, &expected.value, tolerance);
    }

    fn output_grad(problem: &Problem) -> Vec<f64> {
        Noise(77).uniform(problem.query.len(), 1.0)
    }

    fn run_backward(problem: &Problem, device: &Device, dtype: DType) -> oracle::Gradients {
        let device = device.clone().autodiff();
        let [query, key, value] = inputs(problem, &device, dtype).map(|x| x.require_grad());
        let segments = segments(problem, &device);
        let output = partition_attention(query.clone(), key.clone(), value.clone(), &segments);
        let weights = tensor(&output_grad(problem), output.dims(), &device, dtype);
        let grads = (output * weights).sum().backward();
        let gradient = |x: Tensor<4>| host(x.grad(&grads).expect("a gradient"));
        oracle::Gradients {
            query: gradient(query),
            key: gradient(key),
            value: gradient(value),
        }
    }
}

fn segment(query_start: usize, query_len: usize, key_start: usize, key_len: usize) -> Segment {
    Segment {
        query_start,
        query_len,
        key_start,
        key_len,
    }
}

/// Two sequences of 5 queries and 4 keys, split differently.
fn small_problem() -> Problem {
    let sizes = Sizes {
        batch: 2,
        query_len: 5,
        key_len: 4,
        heads: 2,
        head_dim: 8,
    };
    let segments = vec![
        vec![segment(0, 3, 0, 2), segment(3, 2, 2, 2)],
        vec![segment(0, 1, 1, 3), segment(1, 4, 0, 1)],
    ];
    Problem::random(sizes, segments, 1)
}

/// Logits of 1e4 and more.
fn huge_problem() -> Problem {
    let mut problem = small_problem();
    problem.query.iter_mut().for_each(|x| *x *= 100.0);
    problem.key.iter_mut().for_each(|x| *x *= 100.0);
    problem
}

/// Up to 3 sequences of up to `max_len` tokens, cut at any place into two ranges of queries; each
/// reads its own part of the keys, the other part, or any range.
fn problems(max_len: usize) -> impl Strategy<Value = Problem> {
    let head_dims = prop::sample::select(vec![8, 16, 32, 64]);
    let sizes = (1..=3usize, 1..=max_len, 1..=max_len, 1..=3usize, head_dims).prop_map(
        |(batch, query_len, key_len, heads, head_dim)| Sizes {
            batch,
            query_len,
            key_len,
            heads,
            head_dim,
        },
    );
    (sizes, 0..5u8, any::<u64>()).prop_map(|(sizes, kind, seed)| {
        let mut noise = Noise(seed);
        let segments = (0..sizes.batch)
            .map(|_| {
                let (query_len, key_len) = (sizes.query_len, sizes.key_len);
                let (split, key_split) = match kind {
                    0 => (0, noise.below(key_len + 1)),
                    1 => (query_len, key_len),
                    _ => (noise.below(query_len + 1), noise.below(key_len + 1)),
                };
                let second = query_len - split;
                if kind == 4 {
                    // Queries between the two belong to neither.
                    let gap = noise.below(second + 1);
                    let mut keys = || {
                        let start = noise.below(key_len + 1);
                        (start, noise.below(key_len - start + 1))
                    };
                    let ((a, a_len), (b, b_len)) = (keys(), keys());
                    vec![
                        segment(split + gap, second - gap, b, b_len),
                        segment(0, split, a, a_len),
                    ]
                } else if kind == 3 {
                    vec![
                        segment(0, split, key_split, key_len - key_split),
                        segment(split, second, 0, key_split),
                    ]
                } else {
                    vec![
                        segment(0, split, 0, key_split),
                        segment(split, second, key_split, key_len - key_split),
                    ]
                }
            })
            .collect();
        Problem::random(sizes, segments, noise.next())
    })
}

fn run(problem: &Problem, device: &Device, dtype: DType) -> Vec<f64> {
    let [query, key, value] = inputs(problem, device, dtype);
    host(partition_attention(
        query,
        key,
        value,
        &segments(problem, device),
    ))
}

fn inputs(problem: &Problem, device: &Device, dtype: DType) -> [Tensor<4>; 3] {
    [
        tensor(&problem.query, problem.sizes.query_shape(), device, dtype),
        tensor(&problem.key, problem.sizes.key_shape(), device, dtype),
        tensor(&problem.value, problem.sizes.key_shape(), device, dtype),
    ]
}

fn segments(problem: &Problem, device: &Device) -> Segments {
    let Sizes {
        query_len, key_len, ..
    } = problem.sizes;
    Segments::new(&problem.segments, query_len, key_len, device).expect("segments fit")
}

fn tensor(values: &[f64], shape: [usize; 4], device: &Device, dtype: DType) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, dtype))
}

fn zeros(shape: [usize; 4]) -> Tensor<4> {
    Tensor::zeros(shape, &Device::flex())
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as().expect("floats")
}

/// The same tensor, contiguous in memory.
fn host_round_trip(tensor: Tensor<4>, device: &Device) -> Tensor<4> {
    Tensor::from_data(tensor.into_data(), device)
}

/// Dense attention that rounds scores, weights and outputs.
fn dense_output(problem: &Problem, round: &dyn Fn(f64) -> f64) -> Vec<f64> {
    let head_dim = problem.sizes.head_dim;
    let mut output = vec![0.0; problem.query.len()];
    problem.for_each_query(|query, keys, _| {
        let scores: Vec<f64> = keys
            .iter()
            .map(|&key| round(problem.score(query, key)))
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for (&key, weight) in keys.iter().zip(&weights) {
            let weight = round(weight / sum);
            for d in 0..head_dim {
                output[query + d] += weight * problem.value[key + d];
            }
        }
    });
    output.into_iter().map(round).collect()
}

fn root_mean_square(ours: &[f64], expected: &[f64]) -> f64 {
    let sum: f64 = ours
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    (sum / ours.len() as f64).sqrt()
}

/// Compares relative to `max(1, |expected|)`; NaN fails.
fn assert_close(what: &str, ours: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let mut largest = 0f64;
    for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
        let error = (a - b).abs() / b.abs().max(1.0);
        assert!(
            error <= tolerance,
            "{what}[{i}] is {a}, not {b}: off by {error:e}"
        );
        largest = largest.max(error);
    }
    println!("{what}: {largest:.1e} of {tolerance:.0e}");
}
