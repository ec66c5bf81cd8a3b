use serde::{Deserialize, Serialize};

/// Steps, batches and checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSection {
    /// Optimizer steps.
    pub n_steps: usize,
    /// Sequences of an optimizer step.
    pub batch_size: usize,
    /// Steps between two lines of the metrics.
    pub log_every: usize,
    /// Steps between two checkpoints.
    pub checkpoint_every: usize,
    /// Checkpoints that are kept.
    pub keep_checkpoints: usize,
}

impl Default for TrainingSection {
    fn default() -> Self {
        Self {
            n_steps: 1_000_000,
            batch_size: 512,
            log_every: 10,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
        }
    }
}

/// Validation perplexity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationSection {
    /// Steps between two validations; the last step is always followed by one.
    pub every: usize,
    /// Sequences of a validation during training; the last one takes all.
    pub n_sequences: usize,
    /// Masks or partitions drawn for each sequence.
    pub n_draws: usize,
    /// Sequences that go through the network at once.
    pub batch_size: usize,
}

impl Default for EvaluationSection {
    fn default() -> Self {
        Self {
            every: 1000,
            n_sequences: 512,
            n_draws: 1,
            batch_size: 32,
        }
    }
}
