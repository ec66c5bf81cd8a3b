use serde::{Deserialize, Serialize};

/// The log-linear noise schedule, `alpha(t) = 1 - (1 - eps) t` for `t` in `(0, 1]`.
///
/// # Reference
/// MDLM (arXiv 2406.07524), with `eps` = 1e-3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseSchedule {
    eps: f64,
}

impl Default for NoiseSchedule {
    fn default() -> Self {
        Self { eps: 1e-3 }
    }
}

/// A diffusion time with what is left to 1, which subtraction would round away near `t` = 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseTime {
    /// `t` in `(0, 1]`.
    pub t: f64,
    /// `1 - t`, positive.
    pub complement: f64,
}

impl NoiseTime {
    /// The time of the other group of a partition.
    pub fn flipped(self) -> Self {
        Self {
            t: self.complement,
            complement: self.t,
        }
    }
}

/// How much the loss of a token counts in training; perplexities always use [`Self::Elbo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// `-alpha'(t) / (1 - alpha(t))`, the weight of the likelihood bound; over all times in `(0, 1]` the loss is that bound.
    #[default]
    Elbo,
    /// 1 for every hidden token, which has a lower variance and is no bound.
    LowVariance,
    /// As [`Self::Elbo`], with the time not below 1e-3: a deviation from the published loss that
    /// bounds the weight of a token at 1000.
    ElboFloored,
}

impl NoiseSchedule {
    /// The probability that a token is still visible at time `t`.
    pub fn alpha(&self, t: f64) -> f64 {
        1.0 - (1.0 - self.eps) * t
    }

    /// A given time; `1 - t` is kept above the rounding of a float64.
    ///
    /// # Panics
    /// Panics if `t` is not in `(0, 1]`.
    pub fn time(&self, t: f64) -> NoiseTime {
        assert!(t > 0.0 && t <= 1.0, "time {t} is outside (0, 1]");
        NoiseTime {
            t,
            complement: (1.0 - t).max(f64::EPSILON),
        }
    }

    /// `-alpha'(t) / (1 - alpha(t))`, which is `1 / t` for this schedule, whatever `eps` is.
    pub fn elbo_weight(&self, time: NoiseTime) -> f64 {
        1.0 / time.t
    }

    /// The weight of a hidden token in the training loss.
    pub fn weight(&self, time: NoiseTime, weighting: Weighting) -> f64 {
        match weighting {
            Weighting::Elbo => self.elbo_weight(time),
            Weighting::LowVariance => 1.0,
            Weighting::ElboFloored => self.elbo_weight(time).min(1e3),
        }
    }

    /// The probability that a token hidden at time `t` is visible at the earlier time `s`:
    /// `(alpha_s - alpha_t) / (1 - alpha_t) = (t - s) / t`.
    pub fn reveal_probability(&self, t: f64, s: f64) -> f64 {
        (t - s) / t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_is_the_derivative_over_the_hidden_share() {
        let schedule = NoiseSchedule::default();
        let (t, h) = (0.3, 1e-6);
        let derivative = (schedule.alpha(t + h) - schedule.alpha(t - h)) / (2.0 * h);
        let expected = -derivative / (1.0 - schedule.alpha(t));
        let weight = schedule.elbo_weight(schedule.time(t));
        assert!((weight - expected).abs() < 1e-6, "{weight} {expected}");
    }

    #[test]
    fn weights_stay_finite_as_t_goes_to_one() {
        let schedule = NoiseSchedule::default();
        let flipped = schedule.time(1.0).flipped();
        assert!(schedule.elbo_weight(flipped).is_finite());
        assert_eq!(schedule.weight(flipped, Weighting::ElboFloored), 1e3);
    }

    #[test]
    fn reveal_probability_follows_from_alpha() {
        let schedule = NoiseSchedule::default();
        let (t, s) = (0.8, 0.6);
        let expected = (schedule.alpha(s) - schedule.alpha(t)) / (1.0 - schedule.alpha(t));
        assert!((schedule.reveal_probability(t, s) - expected).abs() < 1e-12);
    }
}
