use std::path::{Path, PathBuf};

use discrete_diffusion::distillation::TeacherTimes;
use pgm_model::Precision;
use pgm_train::{TrainError, WeightsChoice};
use serde::{Deserialize, Serialize};

use crate::{Divergence, Normalisation};

/// The first teacher, from which the student starts too: a run, or a file with weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherSection {
    /// Folder of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<PathBuf>,
    /// File with weights, instead of a run: a checkpoint of the authors, safetensors or burnpack. Its text is that of
    /// `[data]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_file: Option<PathBuf>,
    /// Attention heads of `weights_file`, if not 64 features each (files of this project say it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_heads: Option<usize>,
    /// Number format of products in the networks of `weights_file`, `f32` if left out; a run has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Which of the run's checkpoints: `last`, `best` or a step.
    #[serde(default = "default_checkpoint")]
    pub checkpoint: String,
    /// Which of its weights.
    #[serde(default)]
    pub weights: TeacherWeights,
}

/// Where a teacher comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeacherSource<'a> {
    /// The folder of a run.
    Run(&'a Path),
    /// A file with weights.
    Weights(&'a Path),
}

impl TeacherSection {
    /// Where the teacher comes from.
    ///
    /// # Errors
    /// When neither a run nor a file is named, or both.
    pub fn source(&self) -> Result<TeacherSource<'_>, TrainError> {
        match (&self.run, &self.weights_file) {
            (Some(run), None) => Ok(TeacherSource::Run(run)),
            (None, Some(file)) => Ok(TeacherSource::Weights(file)),
            (run, _) => Err(TrainError::Value {
                key: "teacher",
                value: match run {
                    Some(_) => "`run` and `weights_file`".into(),
                    None => "neither `run` nor `weights_file`".into(),
                },
                wanted: "one of the two",
            }),
        }
    }
}

fn default_checkpoint() -> String {
    "last".into()
}

/// Which weights a teacher has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherWeights {
    /// As after the last step.
    #[default]
    Raw,
    /// Averaged.
    Average,
}

impl From<TeacherWeights> for WeightsChoice {
    fn from(weights: TeacherWeights) -> Self {
        match weights {
            TeacherWeights::Raw => Self::Raw,
            TeacherWeights::Average => Self::Average,
        }
    }
}

/// What becomes of the optimizer when a round begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerAtRound {
    /// Its moments and the learning rate go on, and so does the average of the weights, unless the student goes on from it:
    /// then it starts anew, as in the released code.
    #[default]
    Kept,
    /// Its moments, the averaged weights and the warm-up start anew.
    Reset,
}

/// Which tokens the student predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Directions {
    /// Hidden tokens (group 1) from the others.
    #[default]
    Hidden,
    /// Each side from the other, with the teacher's steps from either: every token of a batch is predicted.
    Both,
}

/// Rounds and the loss. The defaults are published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillationSection {
    /// Rounds at most.
    pub n_rounds: usize,
    /// Optimizer steps of a round.
    pub steps_per_round: usize,
    /// Teacher steps that the student learns to do in one.
    pub teacher_steps: usize,
    /// Sampling steps of the first teacher: its step size is `(1 - 1e-5)` over this, and grows `teacher_steps`-fold
    /// each round.
    pub first_sampling_steps: usize,
    /// There is no further round once the teacher would have fewer sampling steps than this.
    pub min_sampling_steps: usize,
    /// The loss.
    pub divergence: Divergence,
    /// Over what both distributions are normalised.
    pub normalisation: Normalisation,
    /// Which tokens the student predicts.
    pub directions: Directions,
    /// Which weights of the student the next teacher has; with averaged ones the student goes on from them, too.
    pub next_teacher: TeacherWeights,
    /// What becomes of the optimizer.
    pub optimizer_at_round: OptimizerAtRound,
    /// At which times the teacher's steps begin.
    pub teacher_times: TeacherTimes,
}

impl Default for DistillationSection {
    fn default() -> Self {
        Self {
            n_rounds: 7,
            steps_per_round: 10_000,
            teacher_steps: 2,
            first_sampling_steps: 1024,
            min_sampling_steps: 8,
            divergence: Divergence::default(),
            normalisation: Normalisation::default(),
            directions: Directions::default(),
            next_teacher: TeacherWeights::default(),
            optimizer_at_round: OptimizerAtRound::default(),
            teacher_times: TeacherTimes::default(),
        }
    }
}

/// Batches and checkpoints; the number of steps follows from the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillTrainingSection {
    /// Sequences of an optimizer step.
    pub batch_size: usize,
    /// Rows that go through the networks at once, all of the batch if left out; both directions make two rows of a
    /// sequence. Divides `batch_size`. Rows that hide about as much go together, so that a PGM gains from small ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch_size: Option<usize>,
    /// Steps between two lines of the metrics.
    pub log_every: usize,
    /// Steps between two checkpoints; each round ends with one, too.
    pub checkpoint_every: usize,
    /// Newest checkpoints that are kept, besides those of the rounds.
    pub keep_checkpoints: usize,
}

impl Default for DistillTrainingSection {
    fn default() -> Self {
        Self {
            batch_size: 128,
            micro_batch_size: None,
            log_every: 10,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
        }
    }
}
