use super::{Remasking, SampleError};
use crate::NoiseSchedule;

/// The last time of a sampler; what is still hidden then is revealed in a last step.
const LAST_TIME: f64 = 1e-5;

/// How many positions each step reveals.
///
/// Times run evenly from 1 to 1e-5 in `K` steps, from `t` to `s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RevealSchedule {
    /// The same number in every step: [`reveal_counts`].
    Even,
    /// Each hidden position with probability `(t - s) / t`: of `r` hidden ones, `Binomial(r, (t - s) / t)`. A
    /// last step reveals the rest.
    Binomial,
    /// `Binomial(L, (1 - 1e-5) / K)`, but no more than are hidden; a last step reveals the rest. `L` is one
    /// more than what is to be drawn, which with BOS alone known is the length.
    ///
    /// # Reference
    /// "Non-uniform" sampling in the code of PGM (arXiv 2505.18883).
    BinomialPublished,
    /// As [`Binomial`](Self::Binomial), while drawn tokens are hidden again with some probability, so that
    /// errors can be corrected.
    Remasking(Remasking),
    /// As many as the sum of the entropies of their predictions, less the largest of them, stays within a
    /// bound in nats; at least one. The number of steps follows.
    ///
    /// The sum less the largest bounds what is lost by drawing the positions independently of each other.
    ///
    /// # Reference
    /// EB-Sampler (arXiv 2505.24857).
    EntropyBound(f64),
}

/// What one step does to one sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// Reveals so many positions.
    Exactly(usize),
    /// Reveals each hidden position and hides each drawn one with a probability.
    Each { reveal: f64, hide: f64 },
    /// Reveals as many positions as of `n` events happen.
    Trials { n: usize, probability: f64 },
    /// Reveals positions within a bound on the entropy.
    WithinEntropy(f64),
    /// Reveals everything.
    Rest,
}

impl RevealSchedule {
    /// The steps that reveal `n_hidden` positions; those that certainly do nothing are left out.
    pub(super) fn steps(self, n_hidden: usize, n_steps: usize) -> Vec<Step> {
        let each =
            |hide: &dyn Fn(f64, f64) -> Step| times(n_steps).map(|(t, s)| hide(t, s)).collect();
        let mut steps: Vec<Step> = match self {
            Self::Even => {
                let counts = reveal_counts(n_hidden, n_steps).into_iter();
                return counts.filter(|&n| n > 0).map(Step::Exactly).collect();
            }
            Self::EntropyBound(bound) => return vec![Step::WithinEntropy(bound); n_hidden],
            Self::Binomial => each(&|t, s| Step::Each {
                reveal: NoiseSchedule::default().reveal_probability(t, s),
                hide: 0.0,
            }),
            Self::Remasking(remasking) => each(&|t, s| Step::Each {
                reveal: remasking.reveal_probability(t, s),
                hide: remasking.sigma(t, s),
            }),
            Self::BinomialPublished => each(&|t, s| Step::Trials {
                n: n_hidden + 1,
                probability: t - s,
            }),
        };
        steps.push(Step::Rest);
        steps
    }

    /// Whether a drawn token can be hidden again.
    pub(super) fn hides_again(self) -> bool {
        matches!(self, Self::Remasking(_))
    }

    /// # Errors
    /// When a bound or probability is out of its range.
    pub(super) fn check(self) -> Result<(), SampleError> {
        match self {
            Self::Remasking(remasking) => remasking.check(),
            Self::EntropyBound(value) if value.is_nan() || value < 0.0 => {
                Err(SampleError::Setting {
                    name: "entropy_bound",
                    value,
                    wanted: "0 nats (one position a step) or above",
                })
            }
            _ => Ok(()),
        }
    }
}

/// The times of `n_steps` steps from 1 to 1e-5, evenly.
pub(super) fn times(n_steps: usize) -> impl Iterator<Item = (f64, f64)> {
    let time = move |i: usize| 1.0 - (1.0 - LAST_TIME) * i as f64 / n_steps as f64;
    (0..n_steps).map(move |i| (time(i), time(i + 1)))
}

/// How many of `n_hidden` positions each step reveals.
///
/// With BOS alone known a sequence of `L` tokens has `L - 1` hidden ones. Where `n_steps` divides
/// `L` these are the published counts, `L / n_steps` each and one less in the last step; otherwise
/// step `i` takes `floor((i + 1)(L - 1) / n_steps) - floor(i (L - 1) / n_steps)`.
///
/// # Reference
/// PGM (arXiv 2505.18883), section 4, "uniform" sampling.
pub fn reveal_counts(n_hidden: usize, n_steps: usize) -> Vec<usize> {
    let seq_len = n_hidden + 1;
    if seq_len.is_multiple_of(n_steps) {
        let mut counts = vec![seq_len / n_steps; n_steps];
        counts[n_steps - 1] -= 1;
        return counts;
    }
    (0..n_steps)
        .map(|i| (i + 1) * n_hidden / n_steps - i * n_hidden / n_steps)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_published_ones_where_the_steps_divide_the_length() {
        assert_eq!(reveal_counts(7, 4), [2, 2, 2, 1]);
        assert_eq!(reveal_counts(7, 8), [1, 1, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn counts_add_up_for_any_number_of_steps() {
        for n_hidden in 0..40 {
            for n_steps in 1..60 {
                let counts = reveal_counts(n_hidden, n_steps);
                assert_eq!(counts.len(), n_steps);
                assert_eq!(counts.iter().sum::<usize>(), n_hidden);
            }
        }
        // 9 positions in 4 steps: floors of 0, 2.25, 4.5, 6.75, 9.
        assert_eq!(reveal_counts(9, 4), [2, 2, 2, 3]);
    }

    #[test]
    fn every_schedule_ends_with_everything_revealed() {
        let remasking = RevealSchedule::Remasking(Remasking::Cap(0.1));
        for schedule in [
            RevealSchedule::Binomial,
            RevealSchedule::BinomialPublished,
            remasking,
        ] {
            let steps = schedule.steps(3, 5);
            assert_eq!(steps.len(), 6);
            assert_eq!(steps[5], Step::Rest);
        }
        let bound = RevealSchedule::EntropyBound(0.5);
        assert_eq!(bound.steps(3, 5), [Step::WithinEntropy(0.5); 3]);
        assert_eq!(RevealSchedule::Even.steps(3, 50), [Step::Exactly(1); 3]);
        assert!(remasking.hides_again() && !bound.hides_again());
    }

    #[test]
    fn negative_bounds_are_refused() {
        let error = RevealSchedule::EntropyBound(-1.0).check().unwrap_err();
        assert!(
            error.to_string().contains("`entropy_bound` is -1"),
            "{error}"
        );
    }
}
