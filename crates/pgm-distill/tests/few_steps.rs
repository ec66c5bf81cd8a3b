//! A distilled student draws better in few steps than its teacher, in exact laws of a language small enough to
//! enumerate.

use burn::tensor::Device;
use discrete_diffusion::TokenSampler;
use discrete_diffusion::distillation::{Rollout, TeacherTimes};
use discrete_diffusion::samplers::Predictor;
use pgm_data::TokenBatch;
use pgm_distill::{Directions, DistillationUpdate, Divergence, NetworkPredictor, RoundSchedule};
use pgm_model::LanguageModel;
use pgm_train::{ExperimentConfig, ObjectiveTraining, TrainingMethod, TrainingState};

const SEQ_LEN: usize = 4;
/// Two tokens and MASK.
const MASK: usize = 2;
const N_STATES: usize = 81;
const BATCH_SIZE: usize = 20;
/// Sequences of a batch that are 1111; the others are 0000.
const N_ONES: usize = 4;

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
            for to in 0..N_STATES {
                let factors = digits(from).into_iter().zip(digits(to)).zip(ones[from]);
                let factor: f64 = factors
                    .map(|((from, to), one)| match (from, to) {
                        (MASK, MASK) => 1.0 - reveal,
                        (MASK, 1) => reveal * one,
                        (MASK, _) => reveal * (1.0 - one),
                        (from, to) => (from == to) as u8 as f64,
                    })
                    .product();
                next[to] += mass * factor;
            }
        }
        law = next;
    }
    assert!((law.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    let share = N_ONES as f64 / BATCH_SIZE as f64;
    let data = |state: usize| match digits(state) {
        [1, 1, 1, 1] => share,
        [0, 0, 0, 0] => 1.0 - share,
        _ => 0.0,
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

#[test]
fn a_student_in_a_quarter_of_the_steps_is_closer_to_the_data_than_its_teacher() {
    let device = Device::flex();
    let batch = TokenBatch {
        // Rows of both kinds at all times: the first two and the last two of every ten are spread.
        tokens: (0..BATCH_SIZE * SEQ_LEN)
            .map(|i| (i / SEQ_LEN % 5 == 2) as u32)
            .collect(),
        valid: vec![true; BATCH_SIZE * SEQ_LEN],
        batch_size: BATCH_SIZE,
        seq_len: SEQ_LEN,
    };
    for (kind, directions) in [
        ("pgm", Directions::Hidden),
        ("pgm", Directions::Both),
        ("mdlm", Directions::Hidden),
    ] {
        let (config, mut state) = state(kind);
        for _ in 0..150 {
            ObjectiveTraining
                .advance(&mut state, &config, &batch, &device)
                .unwrap();
        }
        let first_teacher = state.evaluation_network();
        let schedule = RoundSchedule {
            n_rounds: 2,
            steps_per_round: 60,
            teacher_steps: 2,
            first_sampling_steps: 8,
            min_sampling_steps: 4,
        };
        state.restart_with(first_teacher.clone(), &config, &device);
        for round in 0..schedule.rounds() {
            let teacher = state.evaluation_network();
            let update = DistillationUpdate {
                teacher: &teacher,
                mask_token: MASK,
                rollout: Rollout {
                    n_steps: 2,
                    step_size: schedule.step_size(round),
                    times: TeacherTimes::Even,
                },
                divergence: Divergence::KlBackward,
                directions,
            };
            for _ in 0..schedule.steps_per_round {
                update
                    .apply(&mut state, &config, 3e-3, &batch, &device)
                    .unwrap();
            }
        }
        let student = state.evaluation_network();
        let [many, few] = [8, 2].map(|n_steps| distance(&first_teacher, n_steps));
        let distilled = distance(&student, 2);
        println!(
            "{kind} {directions:?}: teacher {many:.3} at 8, {few:.3} at 2; student {distilled:.3} at 2"
        );
        assert!(many < few, "{many} {few}");
        assert!(distilled < 0.8 * few, "{distilled} {few}");
    }
}

#[test]
fn states_are_numbered_in_base_three() {
    assert_eq!(digits(N_STATES - 1), [MASK; SEQ_LEN]);
    assert!((0..N_STATES).all(|state| index(digits(state)) == state));
}
