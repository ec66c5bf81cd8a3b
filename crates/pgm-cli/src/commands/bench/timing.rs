use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use serde::Serialize;

/// Seconds of a call, over several measurements.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Timing {
    pub median_seconds: f64,
    pub quartile_seconds: [f64; 2],
    pub n_measurements: usize,
    /// Calls between two waits for the device; a measurement is their mean.
    pub calls_a_measurement: usize,
}

impl Timing {
    /// Times `call` after `n_warm_up` calls that do not count.
    pub fn measure<T>(
        device: &Device,
        n_warm_up: usize,
        n_measurements: usize,
        calls: usize,
        mut call: impl FnMut() -> Result<T>,
    ) -> Result<Self> {
        for _ in 0..n_warm_up {
            call()?;
        }
        wait(device)?;
        let mut seconds = Vec::with_capacity(n_measurements);
        for _ in 0..n_measurements {
            let started = Instant::now();
            for _ in 0..calls {
                call()?;
            }
            wait(device)?;
            seconds.push(started.elapsed().as_secs_f64() / calls as f64);
        }
        Ok(Self::from_seconds(seconds, calls))
    }

    /// # Panics
    /// Panics without measurements.
    pub fn from_seconds(mut seconds: Vec<f64>, calls: usize) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize];
        Self {
            median_seconds: at(0.5),
            quartile_seconds: [at(0.25), at(0.75)],
            n_measurements: seconds.len(),
            calls_a_measurement: calls,
        }
    }
}

/// Waits until the device has done all it was asked to.
pub fn wait(device: &Device) -> Result<()> {
    device.sync().context("the device failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_quartiles_of_five() {
        let timing = Timing::from_seconds(vec![5.0, 1.0, 3.0, 2.0, 4.0], 7);
        assert_eq!(timing.median_seconds, 3.0);
        assert_eq!(timing.quartile_seconds, [2.0, 4.0]);
        assert_eq!((timing.n_measurements, timing.calls_a_measurement), (5, 7));
    }
}
