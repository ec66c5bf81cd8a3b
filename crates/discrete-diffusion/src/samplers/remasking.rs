use serde::{Deserialize, Serialize};

use super::SampleError;
use crate::NoiseSchedule;

/// How readily a drawn token is hidden again: the probability `sigma` of a step from time `t` to `s`.
///
/// A hidden token must reach the visible share `alpha(s)` of the new time although visible ones are lost, so
/// `sigma` is at most `min(1, (1 - alpha(s)) / alpha(t))`.
///
/// # Reference
/// ReMDM (arXiv 2503.00307), section 4.1; its runs on OpenWebText have `Cap(0.008)` and `Rescale(0.015)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remasking {
    /// `min(eta, largest sigma)`.
    Cap(f64),
    /// `eta` times the largest sigma.
    Rescale(f64),
}

impl Remasking {
    /// The probability that a drawn token is hidden again between the times `t` and `s`.
    pub fn sigma(self, t: f64, s: f64) -> f64 {
        let schedule = NoiseSchedule::default();
        let largest = ((1.0 - schedule.alpha(s)) / schedule.alpha(t)).min(1.0);
        match self {
            Self::Cap(eta) => largest.min(eta),
            Self::Rescale(eta) => largest * eta,
        }
    }

    /// The probability that a hidden token is revealed between the times `t` and `s`:
    /// `(alpha(s) - (1 - sigma) alpha(t)) / (1 - alpha(t))`.
    pub fn reveal_probability(self, t: f64, s: f64) -> f64 {
        let schedule = NoiseSchedule::default();
        let alpha = schedule.alpha(t);
        let more = self.sigma(t, s) * alpha / (1.0 - alpha);
        (schedule.reveal_probability(t, s) + more).min(1.0)
    }

    /// # Errors
    /// When `eta` is no probability.
    pub(super) fn check(self) -> Result<(), SampleError> {
        let (Self::Cap(eta) | Self::Rescale(eta)) = self;
        if (0.0..=1.0).contains(&eta) {
            Ok(())
        } else {
            Err(SampleError::Setting {
                name: "remask_eta",
                value: eta,
                wanted: "a probability",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_share_follows_the_noise_schedule() {
        let schedule = NoiseSchedule::default();
        for remasking in [
            Remasking::Cap(0.0),
            Remasking::Cap(0.05),
            Remasking::Cap(1.0),
            Remasking::Rescale(0.3),
            Remasking::Rescale(1.0),
        ] {
            for (t, s) in [(1.0, 0.9), (0.9, 0.5), (0.2, 1e-5), (1.0, 1e-5)] {
                let (reveal, hide) = (remasking.reveal_probability(t, s), remasking.sigma(t, s));
                assert!((0.0..=1.0).contains(&reveal) && (0.0..=1.0).contains(&hide));
                let alpha = schedule.alpha(t);
                let visible = alpha * (1.0 - hide) + (1.0 - alpha) * reveal;
                assert!(
                    (visible - schedule.alpha(s)).abs() < 1e-12,
                    "{remasking:?} {t} {s}"
                );
            }
        }
    }

    #[test]
    fn an_eta_outside_of_0_to_1_is_refused() {
        let error = Remasking::Cap(1.5).check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`remask_eta` is 1.5, wanted a probability"
        );
        assert!(Remasking::Rescale(f64::NAN).check().is_err());
    }
}
