//! Whether counts are those of a law.

use std::collections::BTreeMap;

use crate::laws::Law;
use crate::tiny_denoiser::Known;

/// How often each sequence was drawn.
pub type Counts = BTreeMap<Known, usize>;

/// The share of seeds for which a correct sampler would fail.
const FALSE_ALARM: f64 = 1e-5;
/// Rarer outcomes are counted together.
const LEAST_EXPECTED: f64 = 5.0;

#[track_caller]
pub fn assert_follows(counts: &Counts, law: &Law) {
    let p = p_value(counts, law);
    println!("p = {p:.3}");
    assert!(p > FALSE_ALARM, "the counts refute the law: p = {p:e}");
}

/// Far beyond the threshold, so that the test would notice for any seed.
#[track_caller]
pub fn assert_refutes(counts: &Counts, wrong: &Law) {
    let p = p_value(counts, wrong);
    println!("p = {p:.1e} for a wrong law");
    assert!(
        p < 1e-3 * FALSE_ALARM,
        "a wrong law is not refuted: p = {p:e}"
    );
}

/// The probability that a sample of the law deviates from it as much as these counts.
fn p_value(counts: &Counts, law: &Law) -> f64 {
    let total: f64 = law.values().sum();
    assert!((total - 1.0).abs() < 1e-9, "the law sums to {total}");
    let possible = |sequence: &Known| law.get(sequence).is_some_and(|p| *p > 0.0);
    if !counts.keys().all(possible) {
        return 0.0;
    }
    let n: usize = counts.values().sum();
    let mut rare = (0.0, 0.0);
    let mut bins = Vec::new();
    for (sequence, p) in law {
        let expected = p * n as f64;
        let count = counts.get(sequence).copied().unwrap_or(0) as f64;
        if expected < LEAST_EXPECTED {
            rare = (rare.0 + expected, rare.1 + count)
        } else {
            bins.push((expected, count))
        }
    }
    if rare.0 >= LEAST_EXPECTED {
        bins.push(rare);
    }
    if bins.len() == 1 {
        // One sequence is certain, and it is what was drawn.
        return 1.0;
    }
    let deviation = |(expected, count): &(f64, f64)| (count - expected).powi(2) / expected;
    chi_square_tail(bins.iter().map(deviation).sum(), bins.len() - 1)
}

/// `P(X > x)`, from the series of the incomplete gamma function:
/// `P(X <= 2y) = y^a e^-y / Gamma(a + 1) (1 + y/(a+1) + y^2/((a+1)(a+2)) + ...)` with `a` half the degrees of
/// freedom. Exact to 1e-14.
fn chi_square_tail(x: f64, degrees_of_freedom: usize) -> f64 {
    let (a, y) = (degrees_of_freedom as f64 / 2.0, x / 2.0);
    if y > 300.0 {
        return 0.0;
    }
    // Gamma(a + 1) from Gamma(1/2) or Gamma(1).
    let (mut gamma, mut at) = match degrees_of_freedom % 2 {
        1 => (std::f64::consts::PI.sqrt(), 0.5),
        _ => (1.0, 1.0),
    };
    while at < a + 0.75 {
        gamma *= at;
        at += 1.0;
    }
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..2000 {
        term *= y / (a + n as f64);
        sum += term;
    }
    (1.0 - y.powf(a) * (-y).exp() / gamma * sum).max(0.0)
}

#[test]
fn the_chi_square_tail_has_the_tabulated_values() {
    // The 5 % and 0.1 % points.
    for (x, degrees_of_freedom, p) in [
        (38.885, 26, 0.05),
        (54.052, 26, 0.001),
        (3.841, 1, 0.05),
        (10.828, 1, 0.001),
        (11.070, 5, 0.05),
        (5.991, 2, 0.05),
    ] {
        let tail = chi_square_tail(x, degrees_of_freedom);
        assert!(
            (tail / p - 1.0).abs() < 1e-3,
            "{x} {degrees_of_freedom} {tail}"
        );
    }
}
