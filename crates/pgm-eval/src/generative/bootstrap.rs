use discrete_diffusion::random_streams::{Stream, stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Times that samples are taken anew.
pub(super) const N_RESAMPLES: usize = 1000;

/// A number with its standard error over samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard error; none for a single sample.
    pub standard_error: Option<f64>,
}

impl Estimate {
    /// A statistic of samples, with its standard error by the bootstrap: its deviation over as many samples
    /// drawn with replacement, 1000 times. The same seed takes the same samples.
    ///
    /// # Reference
    /// Efron 1979, "Bootstrap methods: another look at the jackknife".
    pub(super) fn bootstrap<T: Copy>(
        samples: &[T],
        seed: u64,
        statistic: impl Fn(&mut dyn Iterator<Item = T>) -> f64,
    ) -> Self {
        let value = statistic(&mut samples.iter().copied());
        if samples.len() < 2 {
            return Self {
                value,
                standard_error: None,
            };
        }
        let mut rng = stream(seed, Stream::Bootstrap, 0);
        let values: Vec<f64> = (0..N_RESAMPLES)
            .map(|_| {
                let taken = (0..samples.len()).map(|_| samples[rng.random_range(0..samples.len())]);
                statistic(&mut { taken })
            })
            .filter(|value| value.is_finite())
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self {
            value,
            standard_error: (n > 1.0).then(|| (squares / (n - 1.0)).sqrt()),
        }
    }

    /// The mean of numbers.
    pub(super) fn of_mean(numbers: &[f64], seed: u64) -> Self {
        Self::bootstrap(numbers, seed, |numbers| {
            let (sum, count) = numbers.fold((0.0, 0), |(sum, n), number| (sum + number, n + 1));
            sum / f64::from(count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_mean_is_its_deviation_over_the_root_of_the_count() {
        // 100 and 100 of 0 and 1: deviation 0.5, error 0.5 / sqrt(200); the bootstrap is off by a few percent.
        let numbers: Vec<f64> = (0..200).map(|i| f64::from(i % 2)).collect();
        let estimate = Estimate::of_mean(&numbers, 1);
        assert_eq!(estimate.value, 0.5);
        let expected = 0.5 / 200f64.sqrt();
        let found = estimate.standard_error.unwrap();
        assert!((found / expected - 1.0).abs() < 0.1, "{found}");
        assert_eq!(Estimate::of_mean(&numbers, 1), estimate);
        assert_ne!(Estimate::of_mean(&numbers, 2), estimate);
        assert_eq!(Estimate::of_mean(&[3.0], 1).standard_error, None);
    }
}
