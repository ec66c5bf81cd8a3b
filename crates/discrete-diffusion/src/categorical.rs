/// Why a token could not be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CategoricalError {
    /// The network gave NaN or infinity.
    #[error(
        "the network gave {value} as the logit of token {token}; its weights are damaged or its training diverged"
    )]
    NotFinite {
        /// Token id.
        token: usize,
        /// The logit.
        value: f32,
    },
    /// The temperature is negative or not finite.
    #[error("temperature {temperature} is refused; it has to be 0 (most likely token) or above")]
    Temperature {
        /// The value.
        temperature: f64,
    },
}

/// Draws tokens from logits by inverting the distribution function in float64.
///
/// One uniform number a token and no noise over the vocabulary: nothing is truncated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenSampler {
    temperature: f64,
    excluded: Option<usize>,
}

impl TokenSampler {
    /// # Errors
    /// When the temperature is negative or not finite.
    pub fn new(temperature: f64) -> Result<Self, CategoricalError> {
        if !temperature.is_finite() || temperature < 0.0 {
            return Err(CategoricalError::Temperature { temperature });
        }
        Ok(Self {
            temperature,
            excluded: None,
        })
    }

    /// Never draws this token: MASK.
    pub fn excluding(mut self, token: usize) -> Self {
        self.excluded = Some(token);
        self
    }

    /// Draws a token with probability proportional to `exp(logit / temperature)`; the most likely
    /// one at temperature 0.
    ///
    /// `uniform` is a draw from `[0, 1)`.
    ///
    /// # Errors
    /// When a logit is NaN or `+inf`.
    pub fn draw(&self, logits: &[f32], uniform: f64) -> Result<u32, CategoricalError> {
        let allowed = || {
            logits
                .iter()
                .enumerate()
                .filter(|(token, _)| Some(*token) != self.excluded)
        };
        let (mut best, mut max) = (0, f32::NEG_INFINITY);
        for (token, &value) in allowed() {
            if value.is_nan() || value == f32::INFINITY {
                return Err(CategoricalError::NotFinite { token, value });
            }
            if value > max {
                (best, max) = (token, value);
            }
        }
        if max == f32::NEG_INFINITY {
            return Err(CategoricalError::NotFinite {
                token: 0,
                value: max,
            });
        }
        if self.temperature == 0.0 {
            return Ok(best as u32);
        }
        let weight = |value: f32| ((value as f64 - max as f64) / self.temperature).exp();
        let total: f64 = allowed().map(|(_, &value)| weight(value)).sum();
        let target = uniform * total;
        let mut cumulative = 0.0;
        let mut last = best;
        for (token, &value) in allowed() {
            let weight = weight(value);
            if weight > 0.0 {
                cumulative += weight;
                last = token;
                if target < cumulative {
                    break;
                }
            }
        }
        Ok(last as u32)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn frequencies_follow_the_probabilities() {
        // Probabilities 0.1, 0.2, 0.3, 0.4 at temperature 1; token 4 is excluded.
        let logits = [1f32, 2.0, 3.0, 4.0, 100.0].map(f32::ln);
        let sampler = TokenSampler::new(1.0).unwrap().excluding(4);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let n = 40_000;
        let mut counts = [0usize; 5];
        for _ in 0..n {
            counts[sampler.draw(&logits, rng.random()).unwrap() as usize] += 1;
        }
        assert_eq!(counts[4], 0);
        // Chi-square with 3 degrees of freedom: above 21.1 with probability 1e-4.
        let chi_square: f64 = [0.1, 0.2, 0.3, 0.4]
            .iter()
            .zip(counts)
            .map(|(p, count)| (count as f64 - p * n as f64).powi(2) / (p * n as f64))
            .sum();
        assert!(chi_square < 21.1, "{chi_square}");
    }

    #[test]
    fn temperature_sharpens_and_zero_takes_the_best() {
        let logits = [0.0, 2f32.ln()];
        // At temperature 1/2 the odds are 1 : 4.
        let half = TokenSampler::new(0.5).unwrap();
        assert_eq!(half.draw(&logits, 0.199).unwrap(), 0);
        assert_eq!(half.draw(&logits, 0.201).unwrap(), 1);
        let zero = TokenSampler::new(0.0).unwrap();
        assert_eq!(zero.draw(&logits, 0.0).unwrap(), 1);
    }

    #[test]
    fn damaged_logits_and_temperatures_are_named() {
        let sampler = TokenSampler::new(1.0).unwrap();
        let error = sampler.draw(&[0.0, f32::NAN], 0.5).unwrap_err();
        assert!(error.to_string().contains("logit of token 1"), "{error}");
        assert!(TokenSampler::new(-1.0).is_err());
    }
}
