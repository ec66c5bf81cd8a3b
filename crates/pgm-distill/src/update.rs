use burn::tensor::{Device, Int, Tensor, TensorData};
use discrete_diffusion::TokenSampler;
use discrete_diffusion::distillation::{HiddenSequence, Rollout, StepTargets};
use discrete_diffusion::samplers::{Predictor, SampleError};
use pgm_data::TokenBatch;
use pgm_eval::EvalError;
use pgm_model::LanguageModel;
use pgm_train::{ExperimentConfig, StepReport, TrainError, TrainingState};

use crate::{Directions, Divergence, NetworkPredictor, StudentRow, hide};

/// One optimizer step of a student.
#[derive(Debug, Clone, Copy)]
pub struct DistillationUpdate<'a> {
    /// The teacher, without autodiff.
    pub teacher: &'a LanguageModel,
    /// The id of MASK.
    pub mask_token: usize,
    /// The teacher's steps.
    pub rollout: Rollout,
    /// The loss of a position.
    pub divergence: Divergence,
    /// Which tokens the student predicts.
    pub directions: Directions,
}

impl DistillationUpdate<'_> {
    /// Hides tokens of the batch, asks the teacher, and moves the student of `state`. The loss is the mean over all
    /// hidden positions of the batch that count, without a weight for the time, whatever the size of the parts.
    ///
    /// # Errors
    /// When the device fails or the teacher's output cannot be used.
    pub fn apply(
        &self,
        state: &mut TrainingState,
        config: &ExperimentConfig,
        learning_rate: f64,
        batch: &TokenBatch,
        device: &Device,
    ) -> Result<StepReport, TrainError> {
        let rows = hide(batch, self.directions, config.seed, state.step as u64);
        let counts = rows.iter().flat_map(|row| &row.counts);
        let n_counted = counts.filter(|&&counts| counts).count().max(1);
        let parts = rows.chunks(config.training.micro_batch_size());
        state.update(config, learning_rate, device, parts, |model, rows| {
            let sum = self
                .loss(&model.network, rows, config.seed, device)
                .map_err(EvalError::from)?;
            Ok(sum.div_scalar(n_counted as f64))
        })
    }

    /// The sum of the student's divergences from the teacher's targets over the hidden positions that count.
    fn loss(
        &self,
        student: &LanguageModel,
        rows: &[StudentRow],
        seed: u64,
        device: &Device,
    ) -> Result<Tensor<1>, SampleError> {
        let predictor = |network| NetworkPredictor {
            network,
            mask_token: self.mask_token,
        };
        let sequences: Vec<HiddenSequence> = rows.iter().map(|row| row.sequence.clone()).collect();
        let tokens = TokenSampler::new(1.0)?.excluding(self.mask_token);
        let teacher = predictor(self.teacher);
        let targets = self
            .rollout
            .targets(&teacher, &sequences, tokens, seed, device)?;
        let comparison = Comparison {
            rows,
            targets,
            divergence: self.divergence,
            mask_token: self.mask_token,
        };
        comparison.loss(&predictor(student), &device.clone().autodiff())
    }
}

/// What a student is compared with.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    /// What the student sees.
    pub rows: &'a [StudentRow],
    /// What the teacher says.
    pub targets: Vec<StepTargets>,
    /// The loss of a position.
    pub divergence: Divergence,
    /// The id of MASK.
    pub mask_token: usize,
}

/// Positions whose divergence is computed at once: what the computation needs in between is this many rows.
const POSITIONS_AT_ONCE: usize = 512;

impl Comparison<'_> {
    /// The sum of the divergences over all hidden positions that count, with its gradient.
    ///
    /// The student runs once. The gradient at its logits is computed here, some positions after the other, so that of
    /// all positions three tensors `[positions, vocab_size]` live at a time: the student's logits, the teacher's, and
    /// the gradient.
    ///
    /// # Shapes
    /// - output: `[1]`
    ///
    /// # Errors
    /// When the device fails.
    pub fn loss(self, student: &impl Predictor, device: &Device) -> Result<Tensor<1>, SampleError> {
        let sequences = self.rows.iter().map(|row| row.sequence.tokens.as_slice());
        let sequences: Vec<&[Option<u32>]> = sequences.collect();
        let hidden: Vec<_> = self.rows.iter().map(|row| row.sequence.hidden()).collect();
        let counts: Vec<bool> = self
            .rows
            .iter()
            .flat_map(|row| row.counts.clone())
            .collect();
        let logits = student.logits(&sequences, &hidden, device)?;
        let values = logits.clone().inner();

        let plain_device = device.clone().inner();
        let mut loss = Tensor::zeros([1], &plain_device);
        let mut gradients = Vec::new();
        // Where the gradient of each place stands.
        let mut row_of = vec![0; counts.len()];
        let mut n_rows = 0;
        for target in self.targets {
            for (chunk, places) in target.places.chunks(POSITIONS_AT_ONCE).enumerate() {
                let start = chunk * POSITIONS_AT_ONCE;
                let teacher = target.logits.clone().narrow(0, start, places.len());
                let student = values.clone().select(0, indices(places, &plain_device));
                let student = student.autodiff().require_grad();
                let weights: Vec<f32> = places.iter().map(|&at| counts[at] as u8 as f32).collect();
                let weights = Tensor::<1>::from_data(weights.as_slice(), device);
                let divergences =
                    self.divergence
                        .between(student.clone(), teacher.autodiff(), self.mask_token);
                let sum = (divergences * weights).sum();
                let gradient = student.grad(&sum.backward());
                gradients.push(gradient.expect("the divergence depends on the student"));
                loss = loss + sum.inner();
                for &place in places {
                    row_of[place] = n_rows;
                    n_rows += 1;
                }
            }
        }
        let gradient = Tensor::cat(gradients, 0).select(0, indices(&row_of, &plain_device));
        // Linear in the logits, with this gradient; it adds exactly 0 to the value.
        let linear = (logits * gradient.autodiff()).sum();
        Ok(linear.clone() - linear.detach() + loss.autodiff())
    }
}

/// `[n]`
fn indices(places: &[usize], device: &Device) -> Tensor<1, Int> {
    let places: Vec<i64> = places.iter().map(|&at| at as i64).collect();
    let n = places.len();
    Tensor::from_data(TensorData::new(places, [n]), device)
}
