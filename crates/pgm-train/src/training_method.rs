use std::ops::ControlFlow;

use burn::tensor::Device;
use discrete_diffusion::Weighting;
use pgm_data::TokenBatch;

use crate::training_state::StepReport;
use crate::{
    ExperimentConfig, MethodRecord, MetricRecord, ObjectiveKind, TrainError, TrainingBatch,
    TrainingState,
};

/// The unit of validation losses, and of training losses unless the method has another.
pub const NATS_PER_TOKEN: &str = "nats per token";

/// What an optimizer step does: the part of a run that the [`Trainer`](crate::Trainer) leaves open.
///
/// For a stopped run to go on exactly, what a step does has to follow from the state, the configuration and the
/// checkpoints that are kept.
pub trait TrainingMethod {
    /// Does one optimizer step on a batch. `go_on` is asked between its parts, and stops the work by breaking.
    ///
    /// # Errors
    /// When a file cannot be read or the device fails, and [`TrainError::Interrupted`] when the work is stopped: the
    /// step is not done then, and a run goes on with all of it.
    fn advance(
        &mut self,
        state: &mut TrainingState,
        config: &ExperimentConfig,
        batch: &TokenBatch,
        device: &Device,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<StepReport, TrainError>;

    /// The mean of [`StepReport::mean_weight`] over all draws: what the losses of earlier versions were multiplied by,
    /// which wrote down what was minimised.
    fn expected_weight(&self, _config: &ExperimentConfig) -> f64 {
        1.0
    }

    /// The unit of the losses, divided by their mean weights.
    fn loss_unit(&self) -> &'static str {
        NATS_PER_TOKEN
    }

    /// Whether a checkpoint is written after this many steps and never deleted.
    fn keeps_checkpoint(&self, _step: usize) -> bool {
        false
    }

    /// Whether the method has lines for the metrics after this many steps; that of the losses up to there comes before.
    fn has_records_after(&self, _step: usize) -> bool {
        false
    }

    /// The lines that the method adds to the metrics after this many steps; `so_far` are those before.
    fn records_after(&self, _step: usize, _so_far: &[MetricRecord]) -> Vec<MethodRecord> {
        Vec::new()
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
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
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
        let mean_weight = TrainingBatch::mean_weight(&parts);
        let report = state.update(config, rate, device, parts, go_on, |model, part, add| {
            let loss = model.loss(&part);
            add(loss.backward());
            Ok(loss.inner())
        })?;
        Ok(StepReport {
            mean_weight,
            ..report
        })
    }

    fn expected_weight(&self, config: &ExperimentConfig) -> f64 {
        match (config.objective.kind, config.objective.weighting) {
            // Half of the tokens are hidden on average, or all count half.
            (
                ObjectiveKind::Pgm | ObjectiveKind::Mdlm | ObjectiveKind::ComplementMdlm,
                Weighting::LowVariance,
            ) => 0.5,
            (_, Weighting::Elbo | Weighting::ElboFloored) | (ObjectiveKind::Ar, _) => 1.0,
        }
    }
}
