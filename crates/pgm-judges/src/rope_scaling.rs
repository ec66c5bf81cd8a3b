use std::f64::consts::TAU;

/// What is done to rotary frequencies so that a network reads texts longer than those it began with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RopeScaling {
    /// Nothing.
    Plain,
    /// All waves are slowed down alike.
    Linear { factor: f64 },
    /// Long waves are slowed down, short ones stay.
    ///
    /// # Reference
    /// Llama 3.1 (arXiv 2407.21783).
    Llama3 {
        factor: f64,
        /// Waves that fit less often than this into the original length are long.
        low: f64,
        /// Waves that fit more often than this into the original length stay as they are.
        high: f64,
        /// The original length, in tokens.
        length: f64,
    },
    /// The same with a ramp over the pairs of features, and with larger queries and keys.
    ///
    /// # Reference
    /// YaRN (arXiv 2309.00071), sections 3.2 and 3.4.
    Yarn {
        factor: f64,
        /// What queries and keys are multiplied by.
        amplitude: f64,
        /// Waves that fit more often than this into the original length stay as they are.
        fast: f64,
        /// Waves that fit less often than this into the original length are slowed down in full.
        slow: f64,
        /// The original length, in tokens.
        length: f64,
        /// Whether the ramp begins and ends at whole pairs of features.
        is_ramp_whole: bool,
    },
}

impl RopeScaling {
    /// The factor by which YaRN enlarges queries and keys, `0.1 mscale ln factor + 1`.
    pub fn yarn_amplitude(factor: f64, mscale: f64) -> f64 {
        if factor > 1.0 {
            0.1 * mscale * factor.ln() + 1.0
        } else {
            1.0
        }
    }

    /// What queries and keys are multiplied by when they are rotated.
    pub fn amplitude(&self) -> f64 {
        match self {
            Self::Yarn { amplitude, .. } => *amplitude,
            _ => 1.0,
        }
    }

    /// What the frequencies of a base, in radians a token, become.
    pub fn apply(&self, base: f64, frequencies: &mut [f64]) {
        match *self {
            Self::Plain => {}
            Self::Linear { factor } => {
                for frequency in frequencies {
                    *frequency /= factor;
                }
            }
            Self::Llama3 {
                factor,
                low,
                high,
                length,
            } => {
                for frequency in frequencies {
                    // How often the wave fits into the original length; in between, the change is gradual.
                    let n_waves = length * *frequency / TAU;
                    let kept = ((n_waves - low) / (high - low)).clamp(0.0, 1.0);
                    *frequency *= kept + (1.0 - kept) / factor;
                }
            }
            Self::Yarn {
                factor,
                fast,
                slow,
                length,
                is_ramp_whole,
                ..
            } => {
                let width = 2.0 * frequencies.len() as f64;
                // The pair of features, counted from 0, whose wave fits so often into the original length.
                let pair =
                    |n_waves: f64| width * (length / (n_waves * TAU)).ln() / (2.0 * base.ln());
                let (start, end) = if is_ramp_whole {
                    (pair(fast).floor(), pair(slow).ceil())
                } else {
                    (pair(fast), pair(slow))
                };
                let (start, mut end) = (start.max(0.0), end.min(width - 1.0));
                if start == end {
                    end += 0.001;
                }
                for (i, frequency) in frequencies.iter_mut().enumerate() {
                    let slowed = ((i as f64 - start) / (end - start)).clamp(0.0, 1.0);
                    *frequency *= slowed / factor + (1.0 - slowed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratios(scaling: RopeScaling, base: f64, frequencies: &[f64]) -> Vec<f64> {
        let mut changed = frequencies.to_vec();
        scaling.apply(base, &mut changed);
        changed
            .iter()
            .zip(frequencies)
            .map(|(a, b)| a / b)
            .collect()
    }

    fn assert_close(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (a, b) in found.iter().zip(wanted) {
            assert!((a - b).abs() < 1e-12, "{found:?}, wanted {wanted:?}");
        }
    }

    #[test]
    fn linear_scaling_slows_all_waves_alike() {
        let scaling = RopeScaling::Linear { factor: 4.0 };
        assert_close(&ratios(scaling, 100.0, &[1.0, 0.1]), &[0.25, 0.25]);
        assert_eq!(scaling.amplitude(), 1.0);
        assert_close(&ratios(RopeScaling::Plain, 100.0, &[1.0, 0.1]), &[1.0, 1.0]);
    }

    #[test]
    fn llama3_slows_long_waves_and_keeps_short_ones() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low: 1.0,
            high: 4.0,
            length: 8192.0,
        };
        // 5, 2.5 and 0.5 waves in 8192 tokens: kept, half way between 1 and 1/8, and an eighth.
        let frequencies = [5.0, 2.5, 0.5].map(|n_waves| TAU * n_waves / 8192.0);
        assert_close(
            &ratios(scaling, 500_000.0, &frequencies),
            &[1.0, 0.5625, 0.125],
        );
    }

    #[test]
    fn yarn_ramps_between_the_pairs_of_the_fast_and_the_slow_wave() {
        // Base e^2 and width 8: pair i has the frequency e^(-i/2), and the wave that fits n times into `length` is
        // pair 2 ln(length / (2 pi n)): 0 at `fast` = 10 and 2 ln 10 = 4.6 at `slow` = 1, 5 as a whole pair.
        let base = 2f64.exp();
        let frequencies: Vec<f64> = (0..4).map(|i| (-f64::from(i) / 2.0).exp()).collect();
        let yarn = |is_ramp_whole| RopeScaling::Yarn {
            factor: 4.0,
            amplitude: RopeScaling::yarn_amplitude(4.0, 1.0),
            fast: 10.0,
            slow: 1.0,
            length: 10.0 * TAU,
            is_ramp_whole,
        };
        let ramp = |end: f64| -> Vec<f64> {
            let slowed = (0..4).map(|i| f64::from(i) / end);
            slowed.map(|slowed| slowed / 4.0 + 1.0 - slowed).collect()
        };
        assert_close(&ratios(yarn(true), base, &frequencies), &ramp(5.0));
        assert_close(
            &ratios(yarn(false), base, &frequencies),
            &ramp(2.0 * 10f64.ln()),
        );
        // 0.1 ln 4 + 1
        assert!((yarn(true).amplitude() - 1.138_629_436_111_989).abs() < 1e-12);
        assert_eq!(RopeScaling::yarn_amplitude(0.5, 1.0), 1.0);
    }
}
