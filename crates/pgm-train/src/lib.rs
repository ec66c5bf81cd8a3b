//! Training of partition, masked diffusion and autoregressive language models: from a
//! configuration file to a folder with checkpoints, metrics and the trained model.
//!
//! - [`ExperimentConfig`] is a run as a TOML file.
//! - [`Trainer`] runs it, step by step, and can be stopped and resumed at any step.
//! - A [`TrainingMethod`] is what a step does, training on the objective if nothing else is said.
//! - [`StartingWeights`] are what it begins with, if not with random weights.
//! - [`LoadedModel`] is a trained model, of a run or of a file with weights.
//! - [`RunFolder`] is what a run leaves behind, and how to open it again; a [`RunLock`] keeps it for one process.
//!
//! Every random number of a step depends on the seed and the number of the step alone, and the
//! data position is the number of the step, so that a resumed run goes on as if it had never
//! stopped. The model is a [`burn_train::TrainStep`], which Burn's own learner can drive too.
//!
//! ```
//! use pgm_train::ExperimentConfig;
//!
//! let config = ExperimentConfig::from_toml(
//!     r#"
//!     name = "tiny"
//!     [data]
//!     inputs = ["text.txt"]
//!     tokenizer = "bpe-512"
//!     seq_len = 64
//!     [training]
//!     n_steps = 100
//!     batch_size = 8
//!     "#,
//!     &["objective.kind=mdlm".to_string()],
//! )?;
//! assert_eq!(config.training.n_steps, 100);
//! # Ok::<(), pgm_train::TrainError>(())
//! ```

mod checkpoint;
mod checkpoint_choice;
mod checkpoint_files;
mod config;
mod ema;
mod error;
mod experiment_data;
mod gradient_clipping;
mod interruption;
mod loaded_model;
mod loss_curve;
mod method_record;
mod metrics;
mod model_description;
mod observer;
mod provenance;
mod run_folder;
mod run_lock;
mod starting_weights;
mod step_losses;
mod throughput;
mod trainer;
mod training_method;
mod training_model;
mod training_state;
mod weights_note;

pub use checkpoint::{Checkpoint, ValidationScore};
pub use checkpoint_choice::CheckpointChoice;
pub use config::{
    DataSection, EvaluationSection, ExperimentConfig, LearningRateSchedule, ModelSection,
    ObjectiveKind, ObjectiveSection, OptimizerSection, TrainingSection, parse_toml,
};
pub use ema::ExponentialMovingAverage;
pub use error::TrainError;
pub use gradient_clipping::clip_by_global_norm;
pub use interruption::control_flow;
pub use loaded_model::LoadedModel;
pub use method_record::MethodRecord;
pub use metrics::{MetricRecord, MetricsLog};
pub use model_description::ModelDescription;
pub use observer::{TrainingEvent, TrainingObserver};
pub use pgm_weights::WeightsChoice;
pub use provenance::Provenance;
pub use run_folder::{LoadedRun, RunFolder, vocabulary};
pub use run_lock::RunLock;
pub use starting_weights::{StartingWeights, StartingWeightsError, WeightsOrigin};
pub use trainer::{Outcome, Trainer};
pub use training_method::{NATS_PER_TOKEN, ObjectiveTraining, TrainingMethod};
pub use training_model::{StepLoss, TrainingBatch, TrainingModel};
pub use training_state::{StepReport, TrainingState};
pub use weights_note::WeightsNote;
