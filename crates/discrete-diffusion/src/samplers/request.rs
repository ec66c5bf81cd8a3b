use burn::tensor::Device;

use super::Context;
use crate::{CategoricalError, TokenSampler};

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub struct SampleRequest<'a> {
    /// What is known of each sequence; all of the same length.
    pub contexts: &'a [Context],
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
    /// One sequence a context, with its known tokens where they were; an autoregressive one can end
    /// early, with EOS.
    pub sequences: Vec<Vec<u32>>,
    /// How often the network ran.
    pub network_evaluations: usize,
}

/// Why nothing was drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The network's output or a setting of the draw cannot be used.
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
    /// A setting is out of its range.
    #[error("`{name}` is {value}, wanted {wanted}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it can be.
        wanted: &'static str,
    },
    /// A known token is behind the end.
    #[error(
        "a known token is at position {position}, but the sequence has {seq_len} positions, counted from 0; shorten the prompt or take longer sequences"
    )]
    TooLong {
        /// Where the token would be.
        position: usize,
        /// Tokens of the sequence.
        seq_len: usize,
    },
    /// Contexts of one request have different lengths.
    #[error(
        "sequence {sequence} has {found} tokens, the first one {expected}; draw sequences of different lengths one after the other"
    )]
    Ragged {
        /// Number of the sequence in the request.
        sequence: usize,
        /// Its length.
        found: usize,
        /// The length of the first one.
        expected: usize,
    },
    /// A context holds the token that is never drawn.
    #[error(
        "position {position} of sequence {sequence} is known to be token {token}, which is MASK; leave the position unknown"
    )]
    KnownMask {
        /// Number of the sequence in the request.
        sequence: usize,
        /// The position.
        position: usize,
        /// MASK.
        token: u32,
    },
    /// An autoregressive model cannot use what stands to the right.
    #[error(
        "position {position} of sequence {sequence} is known, but position {unknown} before it is not; an autoregressive model continues a prompt, infilling takes a PGM or an MDLM"
    )]
    NotAPrompt {
        /// Number of the sequence in the request.
        sequence: usize,
        /// The known position.
        position: usize,
        /// The first unknown one.
        unknown: usize,
    },
    /// An autoregressive model has nothing to start from.
    #[error(
        "position 0 of sequence {sequence} is unknown; an autoregressive model starts from BOS"
    )]
    NoStart {
        /// Number of the sequence in the request.
        sequence: usize,
    },
    /// Who listens to the progress asked for it.
    #[error("stopped before everything was drawn")]
    Stopped,
    /// The device did not give its results back.
    #[error("the device failed: {reason}")]
    Device {
        /// What it says.
        reason: String,
    },
}

impl SampleRequest<'_> {
    /// # Errors
    /// When there is no sequence, they are empty or of different lengths, or MASK is called known.
    pub(super) fn check(&self) -> Result<(), SampleError> {
        let seq_len = self.contexts.first().map_or(0, Context::seq_len);
        at_least("contexts", self.contexts.len(), 1)?;
        at_least("seq_len", seq_len, 1)?;
        for (sequence, context) in self.contexts.iter().enumerate() {
            if context.seq_len() != seq_len {
                return Err(SampleError::Ragged {
                    sequence,
                    found: context.seq_len(),
                    expected: seq_len,
                });
            }
            let mask = self.tokens.excluded().map(|token| token as u32);
            let known_mask = |token: &Option<u32>| token.is_some() && *token == mask;
            if let Some(position) = context.tokens().iter().position(known_mask) {
                return Err(SampleError::KnownMask {
                    sequence,
                    position,
                    token: mask.unwrap_or_default(),
                });
            }
        }
        Ok(())
    }
}

pub(super) fn at_least(name: &'static str, value: usize, least: usize) -> Result<(), SampleError> {
    if value < least {
        Err(SampleError::TooSmall { name, value, least })
    } else {
        Ok(())
    }
}
