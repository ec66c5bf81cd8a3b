//! The teacher's targets against all ways a rollout can go.

#![allow(clippy::unwrap_used)]

mod tiny_denoiser;

use burn::tensor::Device;
use discrete_diffusion::TokenSampler;
use discrete_diffusion::distillation::{HiddenSequence, Rollout, StepTargets, TeacherTimes};
use discrete_diffusion::samplers::{KnownPredictor, MaskedPredictor, Predictor};
use tiny_denoiser::{Known, MASK, N_TOKENS, TinyDenoiser, VOCAB_SIZE, probabilities};

const N_ROLLOUTS: usize = 6000;
/// Position 1 is known, three are hidden.
const KNOWN: Known = [None, Some(2), None, None];
const HIDDEN: [usize; 3] = [0, 2, 3];
const HIDDEN_PLACES: [usize; 3] = [0, 1, 2];
const TIME: f64 = 0.7;

const ROLLOUT: Rollout = Rollout {
    n_steps: 2,
    step_size: 0.3,
    times: TeacherTimes::Even,
    positions_at_once: 500,
};

fn tokens() -> TokenSampler {
    TokenSampler::new(1.0).unwrap().excluding(MASK)
}

/// The target distribution of each hidden position in each rollout.
fn targets(teacher: &impl Predictor, rollout: Rollout) -> Vec<[[f64; N_TOKENS]; 3]> {
    let sequences: Vec<HiddenSequence> = (0..N_ROLLOUTS as u64)
        .map(|index| HiddenSequence {
            tokens: KNOWN.map(|token| token.map(|token| token as u32)).to_vec(),
            time: TIME,
            index,
        })
        .collect();
    let mut found = vec![[[f64::NAN; N_TOKENS]; 3]; N_ROLLOUTS];
    let mut visit = |targets: StepTargets| {
        let logits = targets.logits.try_into_vec_as::<f32>().unwrap();
        for (place, logits) in targets.places.into_iter().zip(logits.chunks(VOCAB_SIZE)) {
            let distribution = tokens().prediction(logits).unwrap();
            let slot = &mut found[place / 3][place % 3];
            assert!(slot[0].is_nan(), "position asked twice");
            slot.copy_from_slice(&distribution[..N_TOKENS]);
        }
        Ok(())
    };
    let device = Device::flex();
    rollout
        .visit_targets(teacher, &sequences, tokens(), 5, &device, &mut visit)
        .unwrap();
    found
}

/// The mean target over all ways a rollout can go: the law of what is known, step by step. A position counts with the
/// prediction of the step that reveals it, or of the last.
fn expected(n_steps: usize, step_size: f64) -> [[f64; N_TOKENS]; 3] {
    let mut mean = [[0.0; N_TOKENS]; 3];
    // Base 4: each hidden position is still hidden (0), or has a token (1 to 3).
    let digits = |state: usize| HIDDEN_PLACES.map(|i| state / 4usize.pow(i as u32) % 4);
    let mut law = [0.0; 64];
    law[0] = 1.0;
    for step in 0..n_steps {
        let begin = TIME - step as f64 * step_size;
        let reveal = if begin <= step_size {
            1.0
        } else {
            step_size / begin
        };
        let is_last = step + 1 == n_steps;
        let mut next = [0.0; 64];
        for (state, mass) in law.into_iter().enumerate().filter(|(_, mass)| *mass > 0.0) {
            let from = digits(state);
            let mut known = KNOWN;
            for i in HIDDEN_PLACES.into_iter().filter(|&i| from[i] > 0) {
                known[HIDDEN[i]] = Some(from[i] - 1);
            }
            let predicted = HIDDEN.map(|position| probabilities(&known, position, 1.0));
            let share = if is_last { 1.0 } else { reveal };
            for i in HIDDEN_PLACES.into_iter().filter(|&i| from[i] == 0) {
                for (mean, p) in mean[i].iter_mut().zip(predicted[i]) {
                    *mean += mass * share * p;
                }
            }
            for (to, next) in next.iter_mut().enumerate() {
                let to = digits(to);
                let factor = |i: usize| match (from[i], to[i]) {
                    (0, 0) => 1.0 - reveal,
                    (0, token) => reveal * predicted[i][token - 1],
                    (before, after) => f64::from(u8::from(before == after)),
                };
                *next += mass * HIDDEN_PLACES.map(factor).into_iter().product::<f64>();
            }
        }
        law = next;
    }
    mean
}

#[test]
fn mean_targets_are_those_of_the_enumerated_rollout() {
    // In the last one time runs out in the third of four steps.
    for (n_steps, step_size, n_asked) in [(2, 0.3, 2), (3, 0.2, 3), (4, 0.15, 4), (4, 0.28, 3)] {
        let rollout = Rollout {
            n_steps,
            step_size,
            ..ROLLOUT
        };
        let denoiser = TinyDenoiser::default();
        let masked = MaskedPredictor {
            denoiser: &denoiser,
            mask_token: MASK as u32,
        };
        let found = targets(&masked, rollout);
        assert_eq!(denoiser.n_evaluations.get(), n_asked);
        let fewer = expected(n_steps - 1, step_size);
        let mut largest_distance: f64 = 0.0;
        for (i, expected) in expected(n_steps, step_size).iter().enumerate() {
            assert!((expected.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            for (token, expected) in expected.iter().enumerate() {
                let values = found.iter().map(|row| row[i][token]);
                let mean = values.clone().sum::<f64>() / N_ROLLOUTS as f64;
                let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>();
                let error = variance.sqrt() / N_ROLLOUTS as f64;
                assert!(
                    (mean - expected).abs() < 4.5 * error + 1e-6,
                    "{n_steps} steps: {mean} {expected}"
                );
                largest_distance = largest_distance.max((mean - fewer[i][token]).abs() / error);
            }
        }
        // Where a step has nothing left to do, one fewer is the same.
        if n_asked == n_steps {
            assert!(
                largest_distance > 6.0,
                "{n_steps} steps: {largest_distance}"
            );
        }
        let known = KnownPredictor {
            denoiser: &denoiser,
        };
        let known = targets(&known, rollout);
        assert_eq!(found, known, "masked and known-only networks");
    }
}

#[test]
fn a_step_over_all_of_the_time_is_one_prediction() {
    let denoiser = TinyDenoiser::default();
    let at_once = Rollout {
        step_size: 1.0,
        ..ROLLOUT
    };
    let found = targets(
        &KnownPredictor {
            denoiser: &denoiser,
        },
        at_once,
    );
    assert_eq!(denoiser.n_evaluations.get(), 1);
    for (i, position) in HIDDEN.into_iter().enumerate() {
        for (found, expected) in found[0][i].iter().zip(probabilities(&KNOWN, position, 1.0)) {
            assert!((found - expected).abs() < 1e-6);
        }
    }
}
