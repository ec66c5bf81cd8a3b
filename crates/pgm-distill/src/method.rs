use std::ops::ControlFlow;

use burn::tensor::Device;
use pgm_data::TokenBatch;
use pgm_model::LanguageModel;
use pgm_train::{
    CheckpointChoice, ExperimentConfig, MethodRecord, MetricRecord, RunFolder, StepReport,
    TrainError, TrainingMethod, TrainingState,
};

use crate::config::{OptimizerAtRound, TeacherWeights};
use crate::{DistillConfig, DistillationUpdate, Round, RoundRecord, RoundSchedule};

/// The unit of a distillation's losses.
pub const DIVERGENCE_PER_TOKEN: &str = "divergence per hidden token";

/// Distillation as what a training step does.
///
/// The teacher of a round is the checkpoint with which the round began, so that a stopped run finds it again.
#[derive(Debug)]
pub struct DistillationMethod {
    config: DistillConfig,
    schedule: RoundSchedule,
    folder: RunFolder,
    mask_token: usize,
    teacher: Option<Teacher>,
}

#[derive(Debug)]
struct Teacher {
    round: usize,
    network: LanguageModel,
}

impl DistillationMethod {
    /// For a run in `folder` that has a checkpoint of the first teacher at step 0.
    pub fn new(config: DistillConfig, folder: RunFolder, mask_token: usize) -> Self {
        Self {
            schedule: config.schedule(),
            config,
            folder,
            mask_token,
            teacher: None,
        }
    }

    /// The round that ends after this many steps.
    fn round_ending_at(&self, step: usize) -> Option<Round> {
        if step == 0 || !self.keeps_checkpoint(step) {
            return None;
        }
        let round = self.schedule.round_of(step - 1);
        let teacher_sampling_steps = self.schedule.sampling_steps(round);
        Some(Round {
            round: round + 1,
            first_step: self.schedule.start_of(round),
            teacher_sampling_steps,
            student_sampling_steps: teacher_sampling_steps / self.schedule.teacher_steps,
        })
    }

    /// Loads the teacher of the current round; at the first step of a later one, the student goes on as configured.
    fn enter_round(
        &mut self,
        state: &mut TrainingState,
        config: &ExperimentConfig,
        device: &Device,
    ) -> Result<(), TrainError> {
        let round = self.schedule.round_of(state.step);
        if self.teacher.as_ref().is_some_and(|t| t.round == round) {
            return Ok(());
        }
        let section = &self.config.distillation;
        let start = self.schedule.start_of(round);
        let weights = section.next_teacher;
        let loaded = self
            .folder
            .load(CheckpointChoice::Step(start), weights.into(), device)?;
        if state.step == start && round > 0 {
            match (section.optimizer_at_round, weights) {
                (OptimizerAtRound::Reset, _) => {
                    state.restart_with(loaded.model.network.clone(), config, device);
                }
                (OptimizerAtRound::Kept, TeacherWeights::Average) => {
                    state.go_on_with(loaded.model.network.clone(), config, device);
                }
                (OptimizerAtRound::Kept, TeacherWeights::Raw) => {}
            }
        }
        self.teacher = Some(Teacher {
            round,
            network: loaded.model.network,
        });
        Ok(())
    }
}

impl TrainingMethod for DistillationMethod {
    fn advance(
        &mut self,
        state: &mut TrainingState,
        config: &ExperimentConfig,
        batch: &TokenBatch,
        device: &Device,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<StepReport, TrainError> {
        self.enter_round(state, config, device)?;
        let teacher = self.teacher.as_ref().expect("the round was entered");
        let section = &self.config.distillation;
        let update = DistillationUpdate {
            teacher: &teacher.network,
            mask_token: self.mask_token,
            teacher_steps: section.teacher_steps,
            step_size: self.schedule.step_size(teacher.round),
            times: section.teacher_times,
            divergence: section.divergence,
            normalisation: section.normalisation,
            directions: section.directions,
        };
        let rate = self.config.learning_rate_at(state.step);
        update.apply(state, config, rate, batch, device, go_on)
    }

    fn loss_unit(&self) -> &'static str {
        DIVERGENCE_PER_TOKEN
    }

    fn keeps_checkpoint(&self, step: usize) -> bool {
        step.is_multiple_of(self.schedule.steps_per_round)
    }

    fn has_records_after(&self, step: usize) -> bool {
        self.round_ending_at(step).is_some()
    }

    fn records_after(&self, step: usize, so_far: &[MetricRecord]) -> Vec<MethodRecord> {
        let round = self.round_ending_at(step).into_iter();
        round
            .map(|round| RoundRecord::new(step, round, so_far).to_metric())
            .collect()
    }
}
