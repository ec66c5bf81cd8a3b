//! How sequences are drawn from a trained network.
//!
//! Whether a position is revealed is drawn apart from the token it gets. Each sequence has random
//! streams of its own, so that the same seed gives the same text whatever the batch size.

mod autoregressive;
mod mdlm_ancestral;
mod pgm_naive;
mod pgm_uniform;
mod revealing;

pub use autoregressive::AutoregressiveSampler;
pub use mdlm_ancestral::MdlmAncestral;
pub use pgm_naive::PgmNaive;
pub use pgm_uniform::{PgmUniform, reveal_counts};

use burn::tensor::Device;

use crate::{CategoricalError, TokenSampler};

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub struct SampleRequest<'a> {
    /// Sequences to draw at once.
    pub n_sequences: usize,
    /// Tokens of a sequence, the first one included.
    pub seq_len: usize,
    /// The token at position 0.
    pub bos_token: u32,
    /// How a token is drawn from its logits.
    pub tokens: TokenSampler,
    /// Seed of all random streams.
    pub seed: u64,
    /// Number of the first sequence among all that are drawn with this seed.
    pub first_sequence: u64,
    /// Where to run the network.
    pub device: &'a Device,
}

/// What was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// `n_sequences` sequences of `seq_len` tokens.
    pub sequences: Vec<Vec<u32>>,
    /// How often the network ran.
    pub network_evaluations: usize,
}

/// Why nothing was drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The network's output or the temperature cannot be used.
    #[error(transparent)]
    Categorical(#[from] CategoricalError),
    /// There is nothing to do.
    #[error("`{name}` is {value}, it has to be at least {least}")]
    TooSmall {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The least value.
        least: usize,
    },
    /// The device did not give its results back.
    #[error("the device failed: {reason}")]
    Device {
        /// What it says.
        reason: String,
    },
}

impl SampleRequest<'_> {
    fn check(&self, n_steps: usize) -> Result<(), SampleError> {
        let sizes = [
            ("n_sequences", self.n_sequences, 1),
            ("seq_len", self.seq_len, 2),
            ("n_steps", n_steps, 1),
        ];
        match sizes.iter().find(|(_, value, least)| value < least) {
            Some(&(name, value, least)) => Err(SampleError::TooSmall { name, value, least }),
            None => Ok(()),
        }
    }
}
