//! A distilled student draws better in few steps than its teacher, in exact laws of a language small enough to
//! enumerate.

#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use burn::tensor::Device;
use discrete_diffusion::TokenSampler;
use discrete_diffusion::distillation::TeacherTimes;
use discrete_diffusion::samplers::Predictor;
use pgm_data::TokenBatch;
use pgm_distill::{
    Directions, DistillationUpdate, Divergence, NetworkPredictor, Normalisation, RoundSchedule,
};
use pgm_model::LanguageModel;
use pgm_train::{ExperimentConfig, ObjectiveTraining, TrainingMethod, TrainingState};

const SEQ_LEN: usize = 4;
/// Two tokens and MASK.
const MASK: usize = 2;
const N_STATES: usize = 81;
const BATCH_SIZE: usize = 40;

/// The language: how many of 40 sequences are this one. Mostly one token throughout, token 0 more often.
fn count(sequence: [usize; SEQ_LEN]) -> usize {
    match sequence.iter().sum() {
        0 => 26,
        1 | 3 => 1,
        4 => 6,
        _ => 0,
    }
}

/// Base 3: a token, or 2 where hidden.
fn digits(state: usize) -> [usize; SEQ_LEN] {
    std::array::from_fn(|i| state / 3usize.pow(i as u32) % 3)
}

fn index(digits: [usize; SEQ_LEN]) -> usize {
    digits
        .iter()
        .rev()
        .fold(0, |index, digit| 3 * index + digit)
}

/// The probability of token 1 at each hidden position of each state.
fn predictions(network: &LanguageModel) -> Vec<[f64; SEQ_LEN]> {
    let states: Vec<Vec<Option<u32>>> = (0..N_STATES)
        .map(|state| {
            digits(state)
                .map(|d| (d < MASK).then_some(d as u32))
                .to_vec()
        })
        .collect();
    let hidden: Vec<Vec<usize>> = states
        .iter()
        .map(|row| (0..SEQ_LEN).filter(|&i| row[i].is_none()).collect())
        .collect();
    let rows: Vec<&[Option<u32>]> = states.iter().map(Vec::as_slice).collect();
    let predictor = NetworkPredictor {
        network,
        mask_token: MASK,
    };
    let logits = predictor.logits(&rows, &hidden, &Device::flex()).unwrap();
    let logits = logits.try_into_vec_as::<f32>().unwrap();
    let mut logits = logits.chunks(MASK + 1);
    let tokens = TokenSampler::new(1.0).unwrap().excluding(MASK);
    let mut found = vec![[0.0; SEQ_LEN]; N_STATES];
    for (found, hidden) in found.iter_mut().zip(hidden) {
        for position in hidden {
            found[position] = tokens.prediction(logits.next().unwrap()).unwrap()[1];
        }
    }
    found
}

/// Total variation between the data and what ancestral sampling draws in `n_steps` steps.
fn distance(network: &LanguageModel, n_steps: usize) -> f64 {
    let ones = predictions(network);
    let mut law = vec![0.0; N_STATES];
    law[N_STATES - 1] = 1.0;
    for step in 0..n_steps {
        // Of the remaining time 1 - step / n_steps, which ends at 0.
        let reveal = 1.0 / (n_steps - step) as f64;
        let mut next = vec![0.0; N_STATES];
        for (from, mass) in law.iter().enumerate() {
            for (to, next) in next.iter_mut().enumerate() {
                let factors = digits(from).into_iter().zip(digits(to)).zip(ones[from]);
                let factor: f64 = factors
                    .map(|((from, to), one)| match (from, to) {
                        (MASK, MASK) => 1.0 - reveal,
                        (MASK, 1) => reveal * one,
                        (MASK, _) => reveal * (1.0 - one),
                        (from, to) => (from == to) as u8 as f64,
                    })
                    .product();
                *next += mass * factor;
            }
        }
        law = next;
    }
    assert!((law.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    let data = |state: usize| {
        let sequence = digits(state);
        let n = if sequence.contains(&MASK) {
            0
        } else {
            count(sequence)
        };
        n as f64 / BATCH_SIZE as f64
    };
    let differences = law
        .iter()
        .enumerate()
        .map(|(state, p)| (p - data(state)).abs());
    0.5 * differences.sum::<f64>()
}

fn state(kind: &str) -> (ExperimentConfig, TrainingState) {
    let config = ExperimentConfig::from_toml(
        "name = \"x\"\n[data]\ninputs = [\"none\"]\ntokenizer = \"gpt2\"\nseq_len = 4\n",
        &[
            format!("objective.kind={kind}"),
            "objective.weighting=low_variance".into(),
            "model={d_model=16,n_heads=2,n_encoder_blocks=1,n_decoder_blocks=1,n_blocks=1,cond_dim=8,dropout=0.0}".into(),
            "optimizer={learning_rate=1e-2,warmup_steps=5,beta_2=0.95,ema_decay=0.9}".into(),
            format!("training.batch_size={BATCH_SIZE}"),
        ],
    )
    .unwrap();
    let state = TrainingState::new(&config, MASK + 1, MASK, None, &Device::flex()).unwrap();
    (config, state)
}

/// Every sequence of the language as often as it occurs.
fn batch() -> TokenBatch {
    let sequences = (0..N_STATES).map(digits).filter(|d| !d.contains(&MASK));
    let rows: Vec<[usize; SEQ_LEN]> = sequences
        .flat_map(|sequence| std::iter::repeat_n(sequence, count(sequence)))
        .collect();
    assert_eq!(rows.len(), BATCH_SIZE);
    // Times rise along a batch; 7 and 40 have no common divisor.
    let tokens = (0..BATCH_SIZE).flat_map(|i| rows[7 * i % BATCH_SIZE]);
    TokenBatch {
        tokens: tokens.map(|token| token as u32).collect(),
        valid: vec![true; BATCH_SIZE * SEQ_LEN],
        batch_size: BATCH_SIZE,
        seq_len: SEQ_LEN,
    }
}

fn trained(kind: &str) -> (ExperimentConfig, TrainingState) {
    let (config, mut state) = state(kind);
    for _ in 0..300 {
        ObjectiveTraining
            .advance(&mut state, &config, &batch(), &Device::flex(), &mut || {
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    (config, state)
}

/// The student after rounds with teachers of 8 and 4 steps.
fn distil(
    first_teacher: &LanguageModel,
    config: &ExperimentConfig,
    state: &mut TrainingState,
    (directions, divergence): (Directions, Divergence),
) -> LanguageModel {
    let device = Device::flex();
    let schedule = RoundSchedule {
        n_rounds: 2,
        steps_per_round: 40,
        teacher_steps: 2,
        first_sampling_steps: 8,
        min_sampling_steps: 4,
    };
    state.restart_with(first_teacher.clone(), config, &device);
    state.step = 0;
    for round in 0..schedule.rounds() {
        let teacher = state.evaluation_network();
        let update = DistillationUpdate {
            teacher: &teacher,
            mask_token: MASK,
            teacher_steps: 2,
            step_size: schedule.step_size(round),
            times: TeacherTimes::Even,
            divergence,
            normalisation: Normalisation::Tokens,
            directions,
        };
        for _ in 0..schedule.steps_per_round {
            update
                .apply(state, config, 3e-3, &batch(), &device, &mut || {
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
    }
    state.evaluation_network()
}

#[test]
fn a_student_in_a_quarter_of_the_steps_is_closer_to_the_data_than_its_teacher() {
    use Directions::{Both, Hidden};
    use Divergence::{KlBackward, KlForward, Mse};
    for (kind, cases) in [
        (
            "pgm",
            &[
                (Hidden, KlBackward),
                (Both, KlBackward),
                (Hidden, Mse),
                (Hidden, KlForward),
            ][..],
        ),
        ("mdlm", &[(Hidden, KlBackward)]),
    ] {
        let (config, mut state) = trained(kind);
        let teacher = state.evaluation_network();
        let [many, few] = [8, 2].map(|n_steps| distance(&teacher, n_steps));
        assert!(many < 0.5 * few, "{kind}: {many} {few}");
        for &(directions, divergence) in cases {
            let student = distil(&teacher, &config, &mut state, (directions, divergence));
            let distilled = distance(&student, 2);
            let case = format!("{kind} {directions:?} {divergence:?}: {few} {distilled}");
            match divergence {
                // The targets of a good teacher average to its own prediction: here is nothing to gain.
                KlForward => assert!(distilled > 0.9 * few, "{case}"),
                _ => assert!(distilled < 0.85 * few, "{case}"),
            }
        }
    }
}

#[test]
fn states_are_numbered_in_base_three() {
    assert_eq!(digits(N_STATES - 1), [MASK; SEQ_LEN]);
    assert!((0..N_STATES).all(|state| index(digits(state)) == state));
}
