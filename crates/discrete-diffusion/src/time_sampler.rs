//! Draws of diffusion times for training.

use rand::{Rng, RngExt};

use crate::NoiseTime;

/// Times stay above this, so that a weight `1 / t` is at most 1000.
pub const MIN_TIME: f64 = 1e-3;

/// Draws one time per sequence of the *global* batch, spread evenly: `u_i = (u / N + i / N) mod 1`
/// with its own `u` for each `i`, then `t = (1 - s) u_i + s` with `s` = [`MIN_TIME`].
///
/// With gradient accumulation or several devices, draw for the whole batch and take slices.
/// `1 - t` is computed as `(1 - s)(1 - u_i)` and is never 0.
///
/// # Reference
/// MDLM (arXiv 2406.07524), "low-discrepancy sampler".
pub fn antithetic(global_batch: usize, rng: &mut impl Rng) -> Vec<NoiseTime> {
    let n = global_batch as f64;
    (0..global_batch)
        .map(|i| {
            let u: f64 = rng.random();
            let spread = ((u + i as f64) / n) % 1.0;
            NoiseTime {
                t: (1.0 - MIN_TIME) * spread + MIN_TIME,
                complement: (1.0 - MIN_TIME) * (1.0 - spread).max(f64::EPSILON),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn each_part_of_the_unit_interval_gets_one_time() {
        let times = antithetic(16, &mut ChaCha8Rng::seed_from_u64(0));
        for (i, time) in times.iter().enumerate() {
            let spread = (time.t - MIN_TIME) / (1.0 - MIN_TIME);
            let low = i as f64 / 16.0;
            assert!(spread >= low - 1e-12 && spread < low + 1.0 / 16.0 + 1e-12);
            assert!((time.t + time.complement - 1.0).abs() < 1e-12);
            assert!(time.complement > 0.0);
        }
    }
}
