/// An average per token from sums per sequence, with its standard error.
///
/// Sequences are independent and tokens of one sequence are not, so the error comes from the
/// spread between sequences: with sums `x_i` over `n_i` tokens and `r = sum x / sum n`, it is
/// `sqrt(N / (N - 1) sum (x_i - r n_i)^2) / sum n`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioEstimate {
    /// The average per token.
    pub mean: f64,
    /// Its standard error; NaN for a single sequence.
    pub standard_error: f64,
    /// Sequences.
    pub n_sequences: usize,
    /// Tokens.
    pub n_tokens: usize,
}

impl RatioEstimate {
    /// From (sum, tokens) of each sequence; `None` if there are no tokens.
    pub fn new(sequences: &[(f64, usize)]) -> Option<Self> {
        let n_tokens: usize = sequences.iter().map(|(_, tokens)| tokens).sum();
        if n_tokens == 0 {
            return None;
        }
        let sum: f64 = sequences.iter().map(|(sum, _)| sum).sum();
        let mean = sum / n_tokens as f64;
        let n = sequences.len() as f64;
        let squares: f64 = sequences
            .iter()
            .map(|&(sum, tokens)| (sum - mean * tokens as f64).powi(2))
            .sum();
        Some(Self {
            mean,
            standard_error: if sequences.len() > 1 {
                (n / (n - 1.0) * squares).sqrt() / n_tokens as f64
            } else {
                f64::NAN
            },
            n_sequences: sequences.len(),
            n_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lengths_give_the_standard_error_of_a_mean() {
        // Means 1, 2, 3: standard deviation 1, standard error 1 / sqrt(3).
        let estimate = RatioEstimate::new(&[(4.0, 4), (8.0, 4), (12.0, 4)]).unwrap();
        assert!((estimate.mean - 2.0).abs() < 1e-12);
        assert!((estimate.standard_error - 1.0 / 3f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_sequence_of_exactly_the_average_adds_no_error() {
        let estimate = RatioEstimate::new(&[(2.0, 1), (6.0, 3)]).unwrap();
        assert_eq!((estimate.mean, estimate.standard_error), (2.0, 0.0));
        assert!(RatioEstimate::new(&[]).is_none());
    }
}
