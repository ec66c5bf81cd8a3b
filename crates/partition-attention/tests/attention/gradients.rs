//! Gradients against those of the float64 loops.

use burn::tensor::{DType, Device, Tensor};
use proptest::prelude::*;

use crate::oracle::{Noise, Problem};
use crate::support::*;
use crate::{F64_TOLERANCE, oracle};
use partition_attention::partition_attention;

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
        let differences: Vec<f64> = (0..gradient.len()).map(|i| difference(select, i)).collect();
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
        for device in devices() {
            check(&problem, &device, DType::F32, TOLERANCE);
        }
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

fn check(problem: &Problem, device: &Device, dtype: DType, tolerance: f64) {
    let gradients = run_backward(problem, device, dtype);
    let expected = problem.gradients(&output_grad(problem));
    assert_close("query", &gradients.query, &expected.query, tolerance);
    assert_close("key", &gradients.key, &expected.key, tolerance);
    assert_close("value", &gradients.value, &expected.value, tolerance);
}

pub fn output_grad(problem: &Problem) -> Vec<f64> {
    Noise(77).uniform(problem.query.len(), 1.0)
}

pub fn run_backward(problem: &Problem, device: &Device, dtype: DType) -> oracle::Gradients {
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
