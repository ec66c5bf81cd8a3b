use burn::tensor::{Int, Tensor};

/// Finite, so that no backend meets `inf - inf`; `exp` of it is 0.
const IMPOSSIBLE: f32 = -1e30;

/// Makes one token impossible: MASK is in the vocabulary and is never predicted.
///
/// # Shapes
/// - logits and output: `[batch, seq, vocab_size]`
pub fn without_token(logits: Tensor<3>, token: usize) -> Tensor<3> {
    let [batch, seq_len, vocab_size] = logits.dims();
    assert!(
        token < vocab_size,
        "token {token} is not in a vocabulary of {vocab_size}"
    );
    logits.slice_fill([0..batch, 0..seq_len, token..token + 1], IMPOSSIBLE)
}

/// `-log p(target)` in nats, as `log-sum-exp(logits) - logits[target]`.
///
/// # Shapes
/// - logits: `[batch, seq, vocab_size]`
/// - targets and output: `[batch, seq]`
pub fn token_cross_entropy(logits: Tensor<3>, targets: Tensor<2, Int>) -> Tensor<2> {
    let max = logits.clone().detach().max_dim(2);
    let shifted = logits - max;
    let chosen = shifted.clone().gather(2, targets.unsqueeze_dim(2));
    let log_sum = shifted.exp().sum_dim(2).log();
    (log_sum - chosen).squeeze_dim(2)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tolerance};

    use super::*;

    #[test]
    fn cross_entropy_of_known_logits() {
        let device = Device::flex();
        // Without token 2: probabilities 1/4 and 3/4.
        let logits = Tensor::<3>::from_floats([[[0.0, 3f32.ln(), 50.0]]], &device);
        let targets = Tensor::from_ints([[0]], &device);
        let nll = token_cross_entropy(without_token(logits, 2), targets);
        let expected = Tensor::<2>::from_floats([[4f32.ln()]], &device);
        nll.into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }

    #[test]
    fn large_logits_stay_finite() {
        let device = Device::flex();
        let logits = Tensor::<3>::from_floats([[[1e4, -1e4, 0.0]]], &device);
        let nll = token_cross_entropy(logits, Tensor::from_ints([[0]], &device));
        assert_eq!(nll.into_scalar::<f32>(), 0.0);
    }
}
