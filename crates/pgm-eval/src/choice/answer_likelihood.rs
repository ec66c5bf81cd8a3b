use super::continuation::Continuation;
use crate::EvalError;

/// How likely an answer is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerLikelihood {
    /// Its log-likelihood in nats; for diffusion models the estimate of a lower bound.
    pub log_likelihood: f64,
    /// Standard error of that over the draws: 0 where it is exact, none after a single draw. As draws are spread
    /// evenly, the true one is rather smaller.
    pub standard_error: Option<f64>,
    /// Times that it went through the network.
    pub network_evaluations: usize,
}

impl AnswerLikelihood {
    /// The mean of draws, at least one; a single one has no error if it is exact.
    pub(super) fn of_draws(
        answer: &Continuation,
        draws: &[f64],
        is_exact: bool,
    ) -> Result<Self, EvalError> {
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        if !mean.is_finite() {
            return Err(EvalError::NotFinite {
                sequence: answer.number as usize,
                value: -mean,
            });
        }
        let squares: f64 = draws.iter().map(|draw| (draw - mean).powi(2)).sum();
        Ok(Self {
            log_likelihood: mean,
            standard_error: match draws.len() {
                1 if is_exact => Some(0.0),
                1 => None,
                _ => Some((squares / (n - 1.0) / n).sqrt()),
            },
            network_evaluations: draws.len(),
        })
    }
}
