//! The loss of small networks with random weights.

#![allow(clippy::unwrap_used)]

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use discrete_diffusion::TokenSampler;
use discrete_diffusion::distillation::{Rollout, StepTargets, TeacherTimes};
use discrete_diffusion::samplers::{PartitionPredictor, Predictor};
use pgm_data::TokenBatch;
use pgm_distill::{Comparison, Directions, Divergence, NetworkPredictor, StudentRow, hide};
use pgm_model::{DitConfig, LanguageModel, LanguageModelConfig, PartitionTransformerConfig};

const MASK: usize = 6;

fn network(is_partition: bool) -> LanguageModel {
    let config = match is_partition {
        true => LanguageModelConfig::Partition(PartitionTransformerConfig {
            vocab_size: MASK + 1,
            d_model: 8,
            n_heads: 2,
            n_encoder_blocks: 1,
            n_decoder_blocks: 1,
            cond_dim: 8,
            dropout: 0.0,
            ..Default::default()
        }),
        false => LanguageModelConfig::Masked(DitConfig {
            vocab_size: MASK + 1,
            d_model: 8,
            n_heads: 2,
            n_blocks: 1,
            cond_dim: 8,
            dropout: 0.0,
            ..Default::default()
        }),
    };
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

fn rows(directions: Directions) -> Vec<StudentRow> {
    let batch = TokenBatch {
        tokens: (0..60).map(|i| (i * i + i / 7) % MASK as u32).collect(),
        valid: vec![true; 60],
        batch_size: 6,
        seq_len: 10,
    };
    hide(&batch, directions, 2, 0)
}

fn targets(network: &LanguageModel, rows: &[StudentRow], step_size: f64) -> Vec<StepTargets> {
    let rollout = Rollout {
        n_steps: 2,
        step_size,
        times: TeacherTimes::Even,
    };
    let sequences: Vec<_> = rows.iter().map(|row| row.sequence.clone()).collect();
    let tokens = TokenSampler::new(1.0).unwrap().excluding(MASK);
    let teacher = NetworkPredictor {
        network,
        mask_token: MASK,
    };
    rollout
        .targets(&teacher, &sequences, tokens, 2, &Device::flex())
        .unwrap()
}

/// All gradients, one behind the other.
#[derive(Default)]
struct Flat {
    gradients: GradientsParams,
    values: Vec<f32>,
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
fn loss(
    rows: &[StudentRow],
    targets: Vec<StepTargets>,
    divergence: Divergence,
    student: &LanguageModel,
    predictor: &impl Predictor,
) -> (f32, Vec<f32>) {
    let device = Device::flex().autodiff();
    let comparison = Comparison {
        rows,
        targets,
        divergence,
        mask_token: MASK,
    };
    let loss = comparison.loss(predictor, &device).unwrap();
    let mut flat = Flat {
        gradients: GradientsParams::from_grads(loss.backward(), student),
        ..Default::default()
    };
    student.visit(&mut flat);
    (loss.inner().into_scalar::<f32>(), flat.values)
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
            let rows = rows(directions);
            for divergence in [
                Divergence::KlBackward,
                Divergence::KlForward,
                Divergence::Mse,
                Divergence::TotalVariation,
            ] {
                // A step of 1 reveals everything at once.
                let one = targets(&teacher, &rows, 1.0);
                let (value, still) = loss(&rows, one, divergence, &student, &predictor);
                assert!(value.abs() < 1e-3, "{divergence:?}: {value}");

                let two = targets(&teacher, &rows, 0.3);
                let (value, gradient) = loss(&rows, two, divergence, &student, &predictor);
                assert!(value > 1e-1, "{divergence:?}: {value}");
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
    let rows = rows(Directions::Both);
    let divergence = Divergence::KlBackward;
    let short = NetworkPredictor {
        network: &student,
        mask_token: MASK,
    };
    let full = PartitionPredictor { denoiser };
    let two = || targets(&teacher, &rows, 0.3);
    let (value, gradient) = loss(&rows, two(), divergence, &student, &short);
    let (full_value, full_gradient) = loss(&rows, two(), divergence, &student, &full);
    assert!((value - full_value).abs() < 1e-4 * full_value);
    let largest = largest(&full_gradient);
    for (a, b) in gradient.iter().zip(full_gradient) {
        assert!((a - b).abs() < 1e-4 * largest, "{a} and {b}");
    }
}
