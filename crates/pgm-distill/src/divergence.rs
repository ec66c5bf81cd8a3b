use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use discrete_diffusion::without_token;
use serde::{Deserialize, Serialize};

/// How far the student's distribution over the real tokens is from the teacher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Divergence {
    /// `KL(student || teacher)`, in nats; the best one in the paper.
    #[default]
    KlBackward,
    /// `KL(teacher || student)`, in nats.
    KlForward,
    /// Squared difference of log-probabilities, averaged over the tokens.
    Mse,
    /// Half the sum of `|p - q|`. (The released code of SDTT sums differences of log-probabilities instead.)
    TotalVariation,
}

/// Over what the distributions of student and teacher are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// The real tokens: MASK is impossible.
    #[default]
    Tokens,
    /// The real tokens and MASK, with 0 as the logit of MASK, which is then left out of the sum: a fault of the released
    /// code of SDTT. What is compared does not sum to 1, so that a KL divergence has a gradient even where student and
    /// teacher agree.
    Released,
}

impl Divergence {
    /// The divergence of each position, in float32.
    ///
    /// # Shapes
    /// - student, teacher: logits, `[n, vocab_size]`
    /// - output: `[n]`
    pub fn between(
        self,
        student: Tensor<2>,
        teacher: Tensor<2>,
        normalisation: Normalisation,
        mask_token: usize,
    ) -> Tensor<1> {
        let [n, vocab_size] = student.dims();
        assert_eq!(
            teacher.dims(),
            [n, vocab_size],
            "student and teacher have to predict the same positions"
        );
        let n_tokens = (vocab_size - 1) as f64;
        let log_q = normalisation.log_probs(student, mask_token);
        let log_p = normalisation.log_probs(teacher, mask_token);
        let summed = match self {
            Self::KlBackward => log_q.clone().exp() * (log_q - log_p),
            Self::KlForward => log_p.clone().exp() * (log_p - log_q),
            Self::Mse => (log_p - log_q).square().div_scalar(n_tokens),
            Self::TotalVariation => (log_p.exp() - log_q.exp()).abs().mul_scalar(0.5),
        };
        let summed = match normalisation {
            // MASK has the same huge negative number on both sides: it adds exactly 0.
            Normalisation::Tokens => summed,
            Normalisation::Released => summed.slice_fill(column(n, mask_token), 0.0),
        };
        summed.sum_dim(1).squeeze_dim(1)
    }
}

impl Normalisation {
    fn log_probs(self, logits: Tensor<2>, mask_token: usize) -> Tensor<2> {
        let n = logits.dims()[0];
        let logits = match self {
            Self::Tokens => without_token(logits.unsqueeze_dim(0), mask_token).squeeze_dim(0),
            Self::Released => logits.slice_fill(column(n, mask_token), 0.0),
        };
        log_softmax(logits, 1)
    }
}

fn column(n_rows: usize, column: usize) -> [Range<usize>; 2] {
    [0..n_rows, column..column + 1]
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    const ALL: [Divergence; 4] = [
        Divergence::KlBackward,
        Divergence::KlForward,
        Divergence::Mse,
        Divergence::TotalVariation,
    ];
    /// The id of MASK, in the middle.
    const MASK: usize = 1;

    fn row(values: [f32; 4], device: &Device) -> Tensor<2> {
        Tensor::from_floats([values], device)
    }

    const BOTH: [Normalisation; 2] = [Normalisation::Tokens, Normalisation::Released];

    fn value(
        divergence: Divergence,
        normalisation: Normalisation,
        student: [f32; 4],
        teacher: [f32; 4],
    ) -> f64 {
        let device = Device::flex();
        let (student, teacher) = (row(student, &device), row(teacher, &device));
        let value = divergence.between(student, teacher, normalisation, MASK);
        value.into_scalar::<f32>() as f64
    }

    #[test]
    fn values_are_those_of_the_definitions_whatever_the_mask_says() {
        // q = (1, 1, 2) / 4 and p = (2, 1, 1) / 4 without MASK.
        let student = [1f32.ln(), 90.0, 1f32.ln(), 2f32.ln()];
        let teacher = [2f32.ln(), -70.0, 1f32.ln(), 1f32.ln()];
        let two = 2f64.ln();
        let expected = [0.25 * two, 0.25 * two, 2.0 * two * two / 3.0, 0.25];
        for (divergence, expected) in ALL.into_iter().zip(expected) {
            let found = value(divergence, Normalisation::Tokens, student, teacher);
            assert!((found - expected).abs() < 1e-6, "{divergence:?}: {found}");
        }
        // With a MASK of weight exp 0: q = (1, 1, 2) / 5 and p = (2, 1, 1) / 5.
        let expected = [0.2 * two, 0.2 * two, 2.0 * two * two / 3.0, 0.2];
        for (divergence, expected) in ALL.into_iter().zip(expected) {
            let found = value(divergence, Normalisation::Released, student, teacher);
            assert!((found - expected).abs() < 1e-6, "{divergence:?}: {found}");
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let device = Device::flex().autodiff();
        let teacher = [0.3, 5.0, -0.8, 0.4];
        let student = [-0.5f32, 2.0, 0.9, 0.1];
        for (divergence, normalisation) in ALL.into_iter().flat_map(|d| BOTH.map(|n| (d, n))) {
            let logits = row(student, &device).require_grad();
            let teacher_row = row(teacher, &device);
            let loss = divergence.between(logits.clone(), teacher_row, normalisation, MASK);
            let gradients = loss.backward();
            let gradient = logits.grad(&gradients).expect("a gradient");
            let gradient = gradient.try_into_vec_as::<f32>().expect("numbers");
            for (i, found) in gradient.into_iter().enumerate() {
                let moved = |by: f32| {
                    let mut student = student;
                    student[i] += by;
                    value(divergence, normalisation, student, teacher)
                };
                let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!(
                    (found as f64 - expected).abs() < 1e-4,
                    "{divergence:?} {normalisation:?}, token {i}: {found} and {expected}"
                );
            }
        }
    }

    #[test]
    fn equal_distributions_have_no_divergence_and_no_gradient() {
        let device = Device::flex().autodiff();
        let same = [0.3, 5.0, -0.8, 0.4];
        for (divergence, normalisation) in ALL.into_iter().flat_map(|d| BOTH.map(|n| (d, n))) {
            let logits = row(same, &device).require_grad();
            let teacher = row(same, &device);
            let loss = divergence.between(logits.clone(), teacher, normalisation, MASK);
            let gradients = loss.backward();
            let gradient = logits.grad(&gradients).expect("a gradient");
            let largest = gradient.abs().max().into_scalar::<f32>();
            assert_eq!(loss.inner().into_scalar::<f32>(), 0.0, "{divergence:?}");
            let is_kl = matches!(divergence, Divergence::KlBackward | Divergence::KlForward);
            if is_kl && normalisation == Normalisation::Released {
                // The probability that MASK has is missing.
                assert!(largest > 1e-2, "{divergence:?}: {largest}");
            } else {
                assert!(largest < 1e-7, "{divergence:?}: {largest}");
            }
        }
    }
}
