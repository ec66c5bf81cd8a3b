use serde::{Deserialize, Serialize};

use crate::PerplexityError;

/// How likely a model finds a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoredSequence {
    /// Its number in the set, from 0.
    pub number: usize,
    /// Nats of its tokens together, averaged over draws.
    pub nats: f64,
    /// Tokens counted.
    pub n_tokens: usize,
}

/// Where [`Perplexity`](crate::Perplexity) leaves the scores of sequences and finds those of an earlier call: memory,
/// or a file.
pub trait SequenceScores {
    /// The scores so far, of the sequences from 0 on.
    fn scored(&self) -> &[ScoredSequence];

    /// Keeps the next ones.
    ///
    /// # Errors
    /// When they cannot be written.
    fn append(&mut self, sequences: Vec<ScoredSequence>) -> Result<(), PerplexityError>;
}

impl SequenceScores for Vec<ScoredSequence> {
    fn scored(&self) -> &[ScoredSequence] {
        self
    }

    fn append(&mut self, sequences: Vec<ScoredSequence>) -> Result<(), PerplexityError> {
        self.extend(sequences);
        Ok(())
    }
}
