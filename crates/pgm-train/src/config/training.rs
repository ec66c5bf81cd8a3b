use serde::{Deserialize, Serialize};

/// Steps, batches and checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSection {
    /// Optimizer steps.
    pub n_steps: usize,
    /// Sequences of an optimizer step.
    pub batch_size: usize,
    /// Sequences that go through the network at once; gradients of several such parts are
    /// accumulated. All of the batch if left out. Divides `batch_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch_size: Option<usize>,
    /// Steps between two lines of the metrics.
    pub log_every: usize,
    /// Steps between two checkpoints.
    pub checkpoint_every: usize,
    /// Newest checkpoints that are kept.
    pub keep_checkpoints: usize,
    /// Checkpoints with the lowest validation loss that are kept besides.
    pub keep_best: usize,
}

impl Default for TrainingSection {
    fn default() -> Self {
        Self {
            n_steps: 1_000_000,
            batch_size: 512,
            micro_batch_size: None,
            log_every: 10,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
            keep_best: 1,
        }
    }
}

impl TrainingSection {
    /// Sequences that go through the network at once.
    pub fn micro_batch_size(&self) -> usize {
        self.micro_batch_size.unwrap_or(self.batch_size)
    }
}

/// Validation perplexity, with a checkpoint and samples to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationSection {
    /// Steps between two validations; the last step is always followed by one.
    pub every: usize,
    /// Sequences of a validation; all held-out ones are used once more in the end.
    pub n_sequences: usize,
    /// Masks or partitions drawn for each sequence.
    pub n_draws: usize,
    /// Sequences that go through the network at once.
    pub batch_size: usize,
    /// Texts drawn after each validation.
    pub n_samples: usize,
    /// Texts drawn in the end.
    pub n_samples_at_end: usize,
}

impl Default for EvaluationSection {
    fn default() -> Self {
        Self {
            every: 1000,
            n_sequences: 512,
            n_draws: 1,
            batch_size: 32,
            n_samples: 1,
            n_samples_at_end: 4,
        }
    }
}
