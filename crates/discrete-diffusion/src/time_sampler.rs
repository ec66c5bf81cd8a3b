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
            time_of(((u + i as f64) / n) % 1.0)
        })
        .collect()
}

/// Times `(u + i / N) mod 1` with one `u` for all `i`, brought into `[least, 1]`.
///
/// # Reference
/// SDTT (arXiv 2410.21035): the draw of distillation, with `least` = 1e-5.
pub fn evenly_spaced(global_batch: usize, least: f64, rng: &mut impl Rng) -> Vec<NoiseTime> {
    let u: f64 = rng.random();
    (0..global_batch)
        .map(|i| (u + i as f64 / global_batch as f64) % 1.0)
        .map(|u| NoiseTime {
            t: (1.0 - least) * u + least,
            complement: (1.0 - least) * (1.0 - u).max(f64::EPSILON),
        })
        .collect()
}

/// The time of one of `n_draws` draws for a sequence of an evaluation: each draw lies in its own
/// part of the unit interval, `u = (draw + v) / n_draws` with `v` uniform.
///
/// More draws therefore converge to the sequence's own value, and no sequence depends on which
/// others are evaluated with it.
pub fn stratified(draw: usize, n_draws: usize, rng: &mut impl Rng) -> NoiseTime {
    let v: f64 = rng.random();
    time_of((draw as f64 + v) / n_draws as f64)
}

/// The time for a number of the unit interval, `(1 - s) u + s`.
fn time_of(u: f64) -> NoiseTime {
    NoiseTime {
        t: (1.0 - MIN_TIME) * u + MIN_TIME,
        complement: (1.0 - MIN_TIME) * (1.0 - u).max(f64::EPSILON),
    }
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

    #[test]
    fn evenly_spaced_times_share_their_offset() {
        let times = evenly_spaced(4, 1e-5, &mut ChaCha8Rng::seed_from_u64(0));
        let mut spread: Vec<f64> = times.iter().map(|time| time.t).collect();
        spread.sort_by(f64::total_cmp);
        for pair in spread.windows(2) {
            assert!((pair[1] - pair[0] - 0.25 * (1.0 - 1e-5)).abs() < 1e-12);
        }
        assert!(spread[0] >= 1e-5 && spread[3] <= 1.0);
    }

    #[test]
    fn draws_of_a_sequence_cover_the_unit_interval() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for draw in 0..4 {
            let spread = (stratified(draw, 4, &mut rng).t - MIN_TIME) / (1.0 - MIN_TIME);
            assert!(
                spread >= draw as f64 / 4.0 - 1e-12 && spread < (draw + 1) as f64 / 4.0 + 1e-12
            );
        }
    }
}
