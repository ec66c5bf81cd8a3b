use pgm_model::Precision;

use crate::small_networks::*;

/// Norm of the difference over the norm of `exact`.
fn relative_error(rounded: &[Vec<f32>], exact: &[Vec<f32>]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let pairs = rounded.iter().flatten().zip(exact.iter().flatten());
    let distance: f64 = pairs.map(|(&a, &b)| square(a - b)).sum();
    let norm: f64 = exact.iter().flatten().map(|&b| square(b)).sum();
    (distance / norm).sqrt()
}

fn assert_rounded(rounded: &[Vec<f32>], exact: &[Vec<f32>], what: &str) {
    let error = relative_error(rounded, exact);
    // A format with 8 bits of precision, through a handful of layers.
    assert!(
        error > 1e-5 && error < 5e-2,
        "{what}: bfloat16 moves the logits by {error:e}"
    );
}

#[test]
fn bfloat16_moves_logits_a_little() {
    let (tokens, groups) = (random_tokens(1), random_groups(2));
    for (model, what) in partition_transformers() {
        let exact = partition_logits(&model, &tokens, &groups);
        let model = model.with_precision(Precision::Bf16);
        assert_rounded(&partition_logits(&model, &tokens, &groups), &exact, &what);
    }
    let batch = [tokens];
    let exact = dit_logits(&dit(), &batch);
    let rounded = dit_logits(&dit().with_precision(Precision::Bf16), &batch);
    assert_rounded(&rounded, &exact, "Dit");
    let exact = causal_logits(&causal_dit(), &batch);
    let rounded = causal_logits(&causal_dit().with_precision(Precision::Bf16), &batch);
    assert_rounded(&rounded, &exact, "CausalDit");
}
