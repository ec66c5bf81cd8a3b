use std::ops::ControlFlow;

use burn::tensor::Device;
use discrete_diffusion::distillation::{Rollout, TeacherTimes};
use pgm_data::TokenBatch;
use pgm_generation::GenerationError;
use pgm_model::LanguageModel;
use pgm_train::{ExperimentConfig, StepReport, TrainError, TrainingState};

use crate::{Directions, Divergence, NetworkPredictor, Normalisation, StudentLoss, hide};

/// Logits of a network that live at a time: 256 MiB in float32, 1335 positions of GPT-2's vocabulary.
const LOGITS_AT_ONCE: usize = 1 << 26;

/// One optimizer step of a student.
#[derive(Debug, Clone, Copy)]
pub struct DistillationUpdate<'a> {
    /// The teacher, without autodiff.
    pub teacher: &'a LanguageModel,
    /// The id of MASK.
    pub mask_token: usize,
    /// Steps of the teacher.
    pub teacher_steps: usize,
    /// Their size in diffusion time.
    pub step_size: f64,
    /// When they begin.
    pub times: TeacherTimes,
    /// The loss of a position.
    pub divergence: Divergence,
    /// Over what both distributions are normalised.
    pub normalisation: Normalisation,
    /// Which tokens the student predicts.
    pub directions: Directions,
}

impl DistillationUpdate<'_> {
    /// Hides tokens of the batch, asks the teacher, and moves the student of `state`. The loss is the mean over all
    /// hidden positions of the batch that count, without a weight for the time, whatever the size of the parts. `go_on` is
    /// asked before each part, and stops the work by breaking.
    ///
    /// # Errors
    /// When the device fails, the teacher's output cannot be used, or the work is stopped.
    pub fn apply(
        &self,
        state: &mut TrainingState,
        config: &ExperimentConfig,
        learning_rate: f64,
        batch: &TokenBatch,
        device: &Device,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<StepReport, TrainError> {
        let rows = hide(batch, self.directions, config.seed, state.step as u64);
        let counts = rows.iter().flat_map(|row| &row.counts);
        let n_counted = counts.filter(|&&counts| counts).count().max(1);
        let loss = StudentLoss {
            teacher: self.predictor(self.teacher),
            rollout: Rollout {
                n_steps: self.teacher_steps,
                step_size: self.step_size,
                times: self.times,
                positions_at_once: (LOGITS_AT_ONCE / self.teacher.vocab_size()).max(1),
            },
            divergence: self.divergence,
            normalisation: self.normalisation,
            mask_token: self.mask_token,
            seed: config.seed,
        };
        let parts = rows.chunks(config.training.micro_batch_size());
        state.update(
            config,
            learning_rate,
            device,
            parts,
            go_on,
            |model, rows, add| {
                let scale = 1.0 / n_counted as f64;
                let sum =
                    loss.differentiate(&self.predictor(&model.network), rows, scale, device, add);
                Ok(sum.map_err(GenerationError::from)?)
            },
        )
    }

    fn predictor<'n>(&self, network: &'n LanguageModel) -> NetworkPredictor<'n> {
        NetworkPredictor {
            network,
            mask_token: self.mask_token,
        }
    }
}
