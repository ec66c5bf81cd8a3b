use burn::tensor::Device;
use pgm_data::TokenBatch;

use crate::training_state::StepReport;
use crate::{ExperimentConfig, TrainError, TrainingState};

/// What an optimizer step does: the part of a run that the [`Trainer`](crate::Trainer) leaves open.
///
/// For a stopped run to go on exactly, what a step does has to follow from the state, the configuration and the
/// checkpoints that are kept.
pub trait TrainingMethod {
    /// Does one optimizer step on a batch.
    ///
    /// # Errors
    /// When a file cannot be read or the device fails.
    fn advance(
        &mut self,
        state: &mut TrainingState,
        config: &ExperimentConfig,
        batch: &TokenBatch,
        device: &Device,
    ) -> Result<StepReport, TrainError>;

    /// Whether a checkpoint is written after this many steps and never deleted.
    fn keeps_checkpoint(&self, _step: usize) -> bool {
        false
    }
}

/// Training on the objective of the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct ObjectiveTraining;

impl TrainingMethod for ObjectiveTraining {
    fn advance(
        &mut self,
        state: &mut TrainingState,
        config: &ExperimentConfig,
        batch: &TokenBatch,
        device: &Device,
    ) -> Result<StepReport, TrainError> {
        let step = state.step;
        let parts = state.model.training_batches(
            batch,
            config.training.micro_batch_size(),
            config.seed,
            step as u64,
            &device.clone().autodiff(),
        );
        let rate = config.learning_rate_at(step);
        state.update(config, rate, device, parts, |model, part, add| {
            let loss = model.loss(&part);
            add(loss.backward());
            Ok(loss.inner())
        })
    }
}
