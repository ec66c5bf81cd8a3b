//! Half precision, tensor cores included where there are any.

use burn::tensor::{DType, Device, bf16, f16};
use proptest::prelude::*;

#[cfg(feature = "autodiff")]
use crate::gradients::{output_grad, run_backward};
use crate::oracle::{Problem, Sizes};
use crate::support::*;

/// The backends with half precision; WebGPU has no bfloat16.
fn half_devices() -> Vec<Device> {
    vec![
        Device::flex(),
        #[cfg(feature = "cuda")]
        Device::cuda(0usize),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// Several tiles long, cut anywhere.
    #[test]
    fn outputs_and_gradients_are_those_of_rounded_inputs(problem in problems(300)) {
        for (dtype, digits) in [(DType::BF16, 8), (DType::F16, 11)] {
            let problem = problem.map(|x| match dtype {
                DType::BF16 => bf16::from_f64(x).to_f64(),
                _ => f16::from_f64(x).to_f64(),
            });
            // Weights, outputs and gradients are rounded.
            let tolerance = 4.0 * 2f64.powi(-digits);
            let expected = problem.output();
            #[cfg(feature = "autodiff")]
            let expected_gradients = {
                let weights: Vec<f64> = output_grad(&problem)
                    .iter()
                    .map(|&x| match dtype {
                        DType::BF16 => bf16::from_f64(x).to_f64(),
                        _ => f16::from_f64(x).to_f64(),
                    })
                    .collect();
                problem.gradients(&weights)
            };
            for device in half_devices() {
                assert_close("output", &run(&problem, &device, dtype), &expected, tolerance);
                #[cfg(feature = "autodiff")]
                {
                    let gradients = run_backward(&problem, &device, dtype);
                    assert_close("query", &gradients.query, &expected_gradients.query, 2.0 * tolerance);
                    assert_close("key", &gradients.key, &expected_gradients.key, 2.0 * tolerance);
                    assert_close("value", &gradients.value, &expected_gradients.value, 2.0 * tolerance);
                }
            }
        }
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
        let dense = root_mean_square(&dense_output(&problem, round), &expected);
        for device in half_devices() {
            let ours = root_mean_square(&run(&problem, &device, dtype), &expected);
            println!("{device:?} {dtype:?}: error {ours:.2e}, dense {dense:.2e}");
            assert!(
                ours > 0.0 && ours <= 2.0 * dense,
                "{device:?} {dtype:?}: {ours:e}, dense {dense:e}"
            );
        }
    }
}

#[cfg(feature = "autodiff")]
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
