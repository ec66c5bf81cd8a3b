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

impl Comparison<'_> {
    /// The sum of the divergences over all hidden positions that count. The student runs once; each step of the teacher
    /// is compared on its own, so that no tensor holds the targets of all.
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
        let mut loss = Tensor::zeros([1], device);
        for target in self.targets {
            let n = target.places.len();
            let weights = target.places.iter().map(|&at| counts[at] as u8 as f32);
            let weights = TensorData::new(weights.collect(), [n]);
            let places = target.places.iter().map(|&at| at as i64);
            let places = TensorData::new(places.collect(), [n]);
            let chosen = logits
                .clone()
                .select(0, Tensor::<1, Int>::from_data(places, device));
            let teacher = target.logits.to_device(device);
            let values = self.divergence.between(chosen, teacher, self.mask_token);
            loss = loss + (values * Tensor::from_data(weights, device)).sum();
        }
        Ok(loss)
    }
}
