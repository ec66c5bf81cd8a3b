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
    /// No token would be left.
    #[error("top-k 0 is refused; it has to be at least 1 (most likely token), or left out")]
    TopK,
    /// No probability.
    #[error("top-p {top_p} is refused; it has to be above 0 and at most 1 (all tokens)")]
    TopP {
        /// The value.
        top_p: f64,
    },
}

/// Draws tokens from logits by inverting the distribution function in float64.
///
/// One uniform number a token and no noise over the vocabulary. The steps, in this order: the
/// excluded token is taken out, logits are divided by the temperature, the `top_k` most likely
/// tokens are kept, and of these, with probabilities that sum to 1 again, the nucleus: the most
/// likely ones up to and including the one that reaches `top_p`. Of equally likely tokens the one
/// with the smaller id comes first.
///
/// # Reference
/// Nucleus sampling: arXiv 1904.09751.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenSampler {
    temperature: f64,
    top_k: Option<usize>,
    top_p: Option<f64>,
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
            top_k: None,
            top_p: None,
            excluded: None,
        })
    }

    /// Draws from the `top_k` most likely tokens alone.
    ///
    /// # Errors
    /// When `top_k` is 0.
    pub fn with_top_k(self, top_k: usize) -> Result<Self, CategoricalError> {
        if top_k == 0 {
            return Err(CategoricalError::TopK);
        }
        Ok(Self {
            top_k: Some(top_k),
            ..self
        })
    }

    /// Draws from the most likely tokens that together reach the probability `top_p`.
    ///
    /// # Errors
    /// When `top_p` is not in `(0, 1]`.
    pub fn with_top_p(self, top_p: f64) -> Result<Self, CategoricalError> {
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(CategoricalError::TopP { top_p });
        }
        // All tokens at 1, whatever rounding does to their sum.
        Ok(Self {
            top_p: (top_p < 1.0).then_some(top_p),
            ..self
        })
    }

    /// Never draws this token: MASK.
    pub fn excluding(mut self, token: usize) -> Self {
        self.excluded = Some(token);
        self
    }

    /// The token that is never drawn.
    pub fn excluded(&self) -> Option<usize> {
        self.excluded
    }

    /// Draws a token; at temperature 0 the most likely one.
    ///
    /// `uniform` is a draw from `[0, 1)`.
    ///
    /// # Errors
    /// When a logit is NaN or `+inf`.
    pub fn draw(&self, logits: &[f32], uniform: f64) -> Result<u32, CategoricalError> {
        let weights = self.weights(logits)?;
        let target = uniform * weights.iter().sum::<f64>();
        let mut cumulative = 0.0;
        let mut last = 0;
        for (token, &weight) in weights.iter().enumerate() {
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

    /// The distribution that [`draw`](Self::draw) draws from, one probability a token.
    ///
    /// # Errors
    /// When a logit is NaN or `+inf`.
    pub fn probabilities(&self, logits: &[f32]) -> Result<Vec<f64>, CategoricalError> {
        Ok(normalised(self.weights(logits)?))
    }

    /// The network's own distribution: temperature 1, all tokens but the excluded one.
    ///
    /// # Errors
    /// When a logit is NaN or `+inf`.
    pub fn prediction(&self, logits: &[f32]) -> Result<Vec<f64>, CategoricalError> {
        Ok(normalised(self.exponentials(logits, 1.0)?))
    }

    /// Proportional to the probabilities; 0 for tokens that are cut off.
    fn weights(&self, logits: &[f32]) -> Result<Vec<f64>, CategoricalError> {
        let mut weights = self.exponentials(logits, self.temperature)?;
        if self.top_k.is_none() && self.top_p.is_none() {
            return Ok(weights);
        }
        let mut ranked: Vec<usize> = (0..weights.len())
            .filter(|&token| weights[token] > 0.0)
            .collect();
        let by_rank =
            |a: &usize, b: &usize| weights[*b].total_cmp(&weights[*a]).then_with(|| a.cmp(b));
        if let Some(top_k) = self.top_k.filter(|&top_k| top_k < ranked.len()) {
            ranked.select_nth_unstable_by(top_k - 1, by_rank);
            ranked.truncate(top_k);
        }
        if let Some(top_p) = self.top_p {
            ranked.sort_unstable_by(by_rank);
            let target = top_p * ranked.iter().map(|&token| weights[token]).sum::<f64>();
            let mut cumulative = 0.0;
            let nucleus = ranked.iter().position(|&token| {
                cumulative += weights[token];
                cumulative >= target
            });
            ranked.truncate(nucleus.map_or(ranked.len(), |last| last + 1));
        }
        let mut kept = vec![0.0; weights.len()];
        for token in ranked {
            kept[token] = weights[token];
        }
        weights = kept;
        Ok(weights)
    }

    /// `exp((logit - largest) / temperature)`; 1 for the most likely token alone at temperature 0.
    fn exponentials(&self, logits: &[f32], temperature: f64) -> Result<Vec<f64>, CategoricalError> {
        let (mut best, mut max) = (0, f32::NEG_INFINITY);
        for (token, &value) in logits.iter().enumerate() {
            if Some(token) == self.excluded {
                continue;
            }
            if value.is_nan() || value == f32::INFINITY {
                return Err(CategoricalError::NotFinite { token, value });
            }
            if value > max {
                (best, max) = (token, value);
            }
        }
        if max == f32::NEG_INFINITY {
            return Err(CategoricalError::NotFinite {
                token: best,
                value: max,
            });
        }
        let mut weights: Vec<f64> = match temperature {
            0.0 => vec![0.0; logits.len()],
            _ => logits
                .iter()
                .map(|&value| ((value as f64 - max as f64) / temperature).exp())
                .collect(),
        };
        weights[best] = 1.0;
        if let Some(excluded) = self.excluded.filter(|&token| token < weights.len()) {
            weights[excluded] = 0.0;
        }
        Ok(weights)
    }
}

fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= total);
    weights
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Probabilities 0.1, 0.2, 0.3, 0.4 at temperature 1; token 4 is to be excluded.
    fn logits() -> [f32; 5] {
        [1f32, 2.0, 3.0, 4.0, 100.0].map(f32::ln)
    }

    fn sampler(temperature: f64) -> TokenSampler {
        TokenSampler::new(temperature).unwrap().excluding(4)
    }

    fn assert_probabilities(sampler: TokenSampler, expected: [f64; 5]) {
        let probabilities = sampler.probabilities(&logits()).unwrap();
        for (p, expected) in probabilities.iter().zip(expected) {
            assert!((p - expected).abs() < 1e-6, "{probabilities:?}");
        }
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let sampler = sampler(1.0);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let n = 40_000;
        let mut counts = [0usize; 5];
        for _ in 0..n {
            counts[sampler.draw(&logits(), rng.random()).unwrap() as usize] += 1;
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
        // The network's own distribution knows no temperature.
        let prediction = zero.prediction(&logits).unwrap();
        assert!((prediction[1] - 2.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn top_k_keeps_the_most_likely() {
        let top = |k| sampler(1.0).with_top_k(k).unwrap();
        assert_probabilities(top(1), [0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_probabilities(top(2), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0, 0.0]);
        assert_probabilities(top(4), [0.1, 0.2, 0.3, 0.4, 0.0]);
        assert_probabilities(top(99), [0.1, 0.2, 0.3, 0.4, 0.0]);
    }

    #[test]
    fn the_nucleus_keeps_the_token_that_reaches_the_threshold() {
        let top = |p| sampler(1.0).with_top_p(p).unwrap();
        assert_probabilities(top(1e-9), [0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_probabilities(top(0.39), [0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_probabilities(top(0.41), [0.0, 0.0, 3.0 / 7.0, 4.0 / 7.0, 0.0]);
        assert_probabilities(top(0.89), [0.0, 2.0 / 9.0, 3.0 / 9.0, 4.0 / 9.0, 0.0]);
        assert_probabilities(top(0.91), [0.1, 0.2, 0.3, 0.4, 0.0]);
        assert_probabilities(top(1.0), [0.1, 0.2, 0.3, 0.4, 0.0]);
    }

    #[test]
    fn the_nucleus_is_cut_behind_temperature_and_top_k() {
        // Squares at temperature 1/2: 1, 4, 9, 16 of 30; the best has 0.53 and not 0.4.
        let sharp = sampler(0.5).with_top_p(0.5).unwrap();
        assert_probabilities(sharp, [0.0, 0.0, 0.0, 1.0, 0.0]);
        // Of the best two, the first has 4/7 = 0.57.
        let both = sampler(1.0).with_top_k(2).unwrap().with_top_p(0.5).unwrap();
        assert_probabilities(both, [0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn of_equal_tokens_the_first_ones_are_kept() {
        let equal = TokenSampler::new(1.0).unwrap();
        let kept = |sampler: TokenSampler| sampler.probabilities(&[0.0; 4]).unwrap();
        assert_eq!(kept(equal.with_top_k(2).unwrap()), [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(kept(equal.with_top_p(0.4).unwrap()), [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn damaged_logits_and_impossible_settings_are_named() {
        let sampler = TokenSampler::new(1.0).unwrap();
        let error = sampler.draw(&[0.0, f32::NAN], 0.5).unwrap_err();
        assert!(error.to_string().contains("logit of token 1"), "{error}");
        assert!(TokenSampler::new(-1.0).is_err());
        assert_eq!(sampler.with_top_k(0), Err(CategoricalError::TopK));
        for top_p in [0.0, -0.1, 1.1] {
            let refused = sampler.with_top_p(top_p);
            assert_eq!(refused, Err(CategoricalError::TopP { top_p }));
        }
        assert!(sampler.with_top_p(f64::NAN).is_err());
    }
}
