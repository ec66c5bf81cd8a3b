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

/// The mean target over all sets of positions that the first step reveals, and all their tokens.
fn expected() -> [[f64; N_TOKENS]; 3] {
    let first = HIDDEN.map(|position| probabilities(&KNOWN, position, 1.0));
    let reveal: f64 = 0.3 / 0.7;
    let mut mean = [[0.0; N_TOKENS]; 3];
    // Each position: hidden (0), or revealed with a token (1 to 3).
    for outcome in 0..4usize.pow(3) {
        let states: [usize; 3] = std::array::from_fn(|i| outcome / 4usize.pow(i as u32) % 4);
        let mut weight = 1.0;
        let mut known = KNOWN;
        for (i, &state) in states.iter().enumerate() {
            weight *= match state {
                0 => 1.0 - reveal,
                token => reveal * first[i][token - 1],
            };
            if state > 0 {
                known[HIDDEN[i]] = Some(state - 1);
            }
        }
        for (i, &state) in states.iter().enumerate() {
            let target = match state {
                0 => probabilities(&known, HIDDEN[i], 1.0),
                _ => first[i],
            };
            for (mean, target) in mean[i].iter_mut().zip(target) {
                *mean += weight * target;
            }
        }
    }
    mean
}

#[test]
fn mean_targets_are_those_of_the_enumerated_rollout() {
    let denoiser = TinyDenoiser::default();
    let found = targets(
        &MaskedPredictor {
            denoiser: &denoiser,
            mask_token: MASK as u32,
        },
        ROLLOUT,
    );
    assert_eq!(denoiser.n_evaluations.get(), 2);
    let expected = expected();
    for (i, expected) in expected.iter().enumerate() {
        for (token, expected) in expected.iter().enumerate() {
            let values = found.iter().map(|row| row[i][token]);
            let mean = values.clone().sum::<f64>() / N_ROLLOUTS as f64;
            let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>();
            let error = variance.sqrt() / N_ROLLOUTS as f64;
            // One-step targets would be off by many standard errors.
            assert!(
                (mean - expected).abs() < 4.5 * error + 1e-6,
                "{mean} {expected}"
            );
        }
    }
    let known = targets(
        &KnownPredictor {
            denoiser: &denoiser,
        },
        ROLLOUT,
    );
    assert_eq!(found, known, "masked and known-only networks");
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
