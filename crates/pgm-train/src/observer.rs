use std::path::PathBuf;
use std::time::Duration;

use pgm_data::PrepareProgress;
use pgm_perplexity::PerplexityReport;

/// What happens during a run, for whoever shows it.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainingEvent<'a> {
    /// The text is being prepared.
    Preparing(PrepareProgress),
    /// The data is ready and the model is built.
    Ready {
        /// Rows to train on.
        n_train_sequences: usize,
        /// Rows held out.
        n_validation_sequences: usize,
        /// Token ids, MASK included.
        vocab_size: usize,
        /// Trained numbers.
        n_parameters: usize,
    },
    /// The run goes on from a checkpoint.
    Resumed {
        /// Optimizer steps that are done.
        step: usize,
    },
    /// An optimizer step was done and its loss is known.
    Step {
        /// Optimizer steps done.
        step: usize,
        /// Optimizer steps of the run.
        n_steps: usize,
        /// Mean loss since the last event of this kind.
        loss: f64,
        /// Its unit: [`NATS_PER_TOKEN`](crate::NATS_PER_TOKEN), that of validations, or another of a distillation.
        loss_unit: &'static str,
        /// Learning rate of the last update.
        learning_rate: f64,
        /// Norm of the last gradient, before clipping.
        grad_norm: f64,
        /// Trained tokens per second since the start.
        tokens_per_second: f64,
        /// Time left for the remaining steps.
        remaining: Option<Duration>,
    },
    /// A validation goes on.
    Validating {
        /// Sequences done.
        done: usize,
        /// Sequences of this validation.
        total: usize,
    },
    /// A validation is done.
    Validated {
        /// Optimizer steps done.
        step: usize,
        /// The perplexity with averaged weights.
        report: &'a PerplexityReport,
    },
    /// A checkpoint was written.
    Saved {
        /// Optimizer steps done.
        step: usize,
        /// Its folder.
        path: PathBuf,
    },
    /// Samples are being drawn.
    Sampling {
        /// Steps done.
        done: usize,
        /// Steps of all batches.
        total: usize,
    },
    /// Samples were drawn.
    Sampled {
        /// Optimizer steps done.
        step: usize,
        /// Decoded text.
        texts: &'a [String],
    },
}

/// Shows a run to a person, or to a test.
pub trait TrainingObserver {
    /// Hears of everything that happens.
    fn on_event(&mut self, event: TrainingEvent);
}
