use std::path::PathBuf;

use discrete_diffusion::samplers::SampleError;
use pgm_data::DataError;
use pgm_generation::GenerationError;

use crate::JudgeError;

/// Why a model or its text could not be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The text could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Nothing could be drawn.
    #[error(transparent)]
    Generation(GenerationError),
    /// The network's predictions cannot be used.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// There is nothing to evaluate.
    #[error("`{name}` is 0, it has to be at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// The loss is NaN or infinite.
    #[error(
        "the loss of sequence {sequence} is {value}; the weights are damaged or the training diverged"
    )]
    NotFinite {
        /// Number of the sequence in the set.
        sequence: usize,
        /// The loss in nats.
        value: f64,
    },
    /// The device did not give its results back.
    #[error("the device failed: {reason}")]
    Device {
        /// What it says.
        reason: String,
    },
    /// A judge cannot be opened or used.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// Samples or results in a file cannot be used.
    #[error("`{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// Texts would be read to a length that the judge does not read, or without a token to judge.
    #[error("`max_length` is {found}, the judge reads from 2 to {longest} tokens")]
    MaxLength {
        /// The setting.
        found: usize,
        /// Longest text the judge reads.
        longest: usize,
    },
    /// The samples hold nothing that can be judged.
    #[error(
        "none of the {n_samples} samples holds a token to judge behind its beginning; all are empty or a single token"
    )]
    EmptySamples {
        /// Samples.
        n_samples: usize,
    },
    /// Two sets of texts cannot be compared.
    #[error("MAUVE cannot be computed: {reason}")]
    Mauve {
        /// Why, and the way out.
        reason: String,
    },
    /// An autoregressive model was asked for a likelihood that hides tokens of the context.
    #[error(
        "the published likelihood is that of diffusion models, which hides tokens of the context, too; take `conditional` for an \
         autoregressive model"
    )]
    PublishedLikelihood,
    /// The work was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl From<GenerationError> for EvalError {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::Interrupted => Self::Interrupted,
            error => Self::Generation(error),
        }
    }
}
