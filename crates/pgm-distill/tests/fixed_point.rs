//! The loss of small networks with random weights.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use discrete_diffusion::TokenSampler;
use discrete_diffusion::distillation::{HiddenSequence, Rollout, TeacherTimes};
use discrete_diffusion::samplers::{PartitionPredictor, Predictor};
use pgm_data::TokenBatch;
use pgm_distill::{
    Directions, Divergence, NetworkPredictor, Normalisation, StudentLoss, StudentRow, hide,
};
use pgm_model::{DitConfig, LanguageModel, LanguageModelConfig, PartitionTransformerConfig};

const MASK: usize = 6;

fn network(is_partition: bool) -> LanguageModel {
    let config = if is_partition {
        LanguageModelConfig::Partition(PartitionTransformerConfig {
            vocab_size: MASK + 1,
            d_model: 8,
            n_heads: 2,
            n_encoder_blocks: 1,
            n_decoder_blocks: 1,
            cond_dim: 8,
            dropout: 0.0,
            ..Default::default()
        })
    } else {
        LanguageModelConfig::Masked(DitConfig {
            vocab_size: MASK + 1,
            d_model: 8,
            n_heads: 2,
            n_blocks: 1,
            cond_dim: 8,
            dropout: 0.0,
            ..Default::default()
        })
    };
    // All tests draw from one generator of the device: nobody may come between the seed and the draws.
    static DRAWING: Mutex<()> = Mutex::new(());
    let _drawing = DRAWING.lock().unwrap();
    let device = Device::flex();
    device.seed(4);
    config.init(&device).map(&mut AddNoise)
}

/// Initial logits are all 0.
struct AddNoise;

impl ModuleMapper for AddNoise {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weights| {
            let noise = Distribution::Normal(0.0, 0.3);
            weights.clone() + Tensor::random(weights.dims(), noise, &weights.device())
        })
    }
}

fn rows(n_sequences: usize, directions: Directions) -> Vec<StudentRow> {
    let n_tokens = 10 * n_sequences;
    let batch = TokenBatch {
        tokens: (0..n_tokens as u32)
            .map(|i| (i * i + i / 7) % MASK as u32)
            .collect(),
        // The last two of each sequence are padding.
        valid: (0..n_tokens).map(|i| i % 10 < 8).collect(),
        batch_size: n_sequences,
        seq_len: 10,
    };
    hide(&batch, directions, 2, 0)
}

/// The loss with a teacher that goes two steps of a size.
fn loss_of(
    teacher: &LanguageModel,
    step_size: f64,
    divergence: Divergence,
) -> StudentLoss<NetworkPredictor<'_>> {
    StudentLoss {
        teacher: NetworkPredictor {
            network: teacher,
            mask_token: MASK,
        },
        rollout: Rollout {
            n_steps: 2,
            step_size,
            times: TeacherTimes::Even,
            positions_at_once: 300,
        },
        divergence,
        normalisation: Normalisation::Tokens,
        mask_token: MASK,
        seed: 2,
    }
}

/// All gradients, one behind the other.
#[derive(Default)]
struct Flat {
    gradients: GradientsParams,
    values: Vec<f32>,
}

impl Flat {
    fn concatenate(gradients: GradientsParams, student: &LanguageModel) -> Vec<f32> {
        let mut flat = Self {
            gradients,
            ..Default::default()
        };
        student.visit(&mut flat);
        flat.values
    }
}

impl ModuleVisitor for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.values
                .extend(gradient.try_into_vec_as::<f32>().unwrap());
        }
    }
}

/// The loss and its gradient.
fn value(
    loss: StudentLoss<NetworkPredictor>,
    rows: &[StudentRow],
    student: &LanguageModel,
    predictor: &impl Predictor,
) -> (f32, Vec<f32>) {
    let mut accumulated = GradientsAccumulator::new();
    let mut add = |gradients| {
        let gradients = GradientsParams::from_grads(gradients, student);
        accumulated.accumulate(student, gradients);
    };
    let value = loss
        .differentiate(predictor, rows, 1.0, &Device::flex(), &mut add)
        .unwrap();
    (
        value.into_scalar::<f32>(),
        Flat::concatenate(accumulated.grads(), student),
    )
}

/// The same by one backward pass through all positions at once.
fn value_at_once(
    loss: StudentLoss<NetworkPredictor>,
    rows: &[StudentRow],
    student: &LanguageModel,
    predictor: &impl Predictor,
) -> (f32, Vec<f32>) {
    let device = Device::flex();
    let sequences: Vec<HiddenSequence> = rows.iter().map(|row| row.sequence.clone()).collect();
    let known: Vec<&[Option<u32>]> = sequences.iter().map(|row| &row.tokens[..]).collect();
    let hidden: Vec<Vec<usize>> = sequences.iter().map(HiddenSequence::hidden).collect();
    let tokens = TokenSampler::new(1.0).unwrap().excluding(MASK);
    let mut targets = Vec::new();
    let mut order = Vec::new();
    loss.rollout
        .visit_targets(&loss.teacher, &sequences, tokens, 2, &device, &mut |part| {
            order.extend(part.places.into_iter().map(|place| place as i64));
            targets.push(part.logits);
            Ok(())
        })
        .unwrap();
    assert!(targets.len() > 2, "several pieces");
    let counts: Vec<f32> = rows
        .iter()
        .flat_map(|row| row.counts.iter().map(|&counts| f32::from(u8::from(counts))))
        .collect();
    let training_device = device.autodiff();
    let weights: Vec<f32> = order.iter().map(|&place| counts[place as usize]).collect();
    let weights = Tensor::<1>::from_data(weights.as_slice(), &training_device);
    let order = Tensor::<1, Int>::from_data(order.as_slice(), &training_device);
    let logits = predictor.logits(&known, &hidden, &training_device).unwrap();
    let divergences = loss.divergence.between(
        logits.select(0, order),
        Tensor::cat(targets, 0).autodiff(),
        loss.normalisation,
        MASK,
    );
    let sum = (divergences * weights).sum();
    let gradients = GradientsParams::from_grads(sum.backward(), student);
    (
        sum.inner().into_scalar::<f32>(),
        Flat::concatenate(gradients, student),
    )
}

#[test]
fn pieces_add_up_to_the_gradient_of_the_whole() {
    for is_partition in [true, false] {
        let teacher = network(is_partition);
        let student = teacher.clone().fork(&Device::flex().autodiff()).train();
        let predictor = NetworkPredictor {
            network: &student,
            mask_token: MASK,
        };
        let rows = rows(200, Directions::Both);
        let two = loss_of(&teacher, 0.3, Divergence::KlBackward);
        let (loss, gradient) = value(two, &rows, &student, &predictor);
        let (expected_loss, expected) = value_at_once(two, &rows, &student, &predictor);
        assert!((loss / expected_loss - 1.0).abs() < 1e-4);
        let largest = largest(&expected);
        for (a, b) in gradient.iter().zip(expected) {
            assert!((a - b).abs() < 1e-4 * largest, "{a} and {b}");
        }
    }
}

fn largest(gradient: &[f32]) -> f32 {
    gradient.iter().fold(0.0, |a, b| a.max(b.abs()))
}

#[test]
fn a_student_equal_to_a_one_step_teacher_stays_where_it_is() {
    for is_partition in [true, false] {
        let teacher = network(is_partition);
        let student = teacher.clone().fork(&Device::flex().autodiff()).train();
        let predictor = NetworkPredictor {
            network: &student,
            mask_token: MASK,
        };
        for directions in [Directions::Hidden, Directions::Both] {
            let rows = rows(6, directions);
            for divergence in [
                Divergence::KlBackward,
                Divergence::KlForward,
                Divergence::Mse,
                Divergence::TotalVariation,
            ] {
                // A step of 1 reveals everything at once.
                let one = loss_of(&teacher, 1.0, divergence);
                let (loss, still) = value(one, &rows, &student, &predictor);
                assert!(loss.abs() < 1e-3, "{divergence:?}: {loss}");

                let two = loss_of(&teacher, 0.3, divergence);
                let (loss, gradient) = value(two, &rows, &student, &predictor);
                assert!(loss > 1e-1, "{divergence:?}: {loss}");
                // Total variation has a kink here: rounding decides its gradient.
                if divergence != Divergence::TotalVariation {
                    let (still, moving) = (largest(&still), largest(&gradient));
                    assert!(still < 1e-3 * moving, "{divergence:?}: {still} {moving}");
                }
            }
        }
    }
}

#[test]
fn known_tokens_alone_give_the_gradient_of_the_training_pass() {
    let teacher = network(true);
    let student = teacher.clone().fork(&Device::flex().autodiff()).train();
    let LanguageModel::Partition(denoiser) = &student else {
        panic!("a partition network");
    };
    let rows = rows(6, Directions::Both);
    let short = NetworkPredictor {
        network: &student,
        mask_token: MASK,
    };
    let full = PartitionPredictor { denoiser };
    let two = loss_of(&teacher, 0.3, Divergence::KlBackward);
    let (loss, gradient) = value(two, &rows, &student, &short);
    let (full_loss, full_gradient) = value(two, &rows, &student, &full);
    assert!((loss - full_loss).abs() < 1e-4 * full_loss);
    let largest = largest(&full_gradient);
    for (a, b) in gradient.iter().zip(full_gradient) {
        assert!((a - b).abs() < 1e-4 * largest, "{a} and {b}");
    }
}
