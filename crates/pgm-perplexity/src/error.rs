use std::error::Error;

use pgm_data::DataError;

/// Why the perplexity of a model could not be estimated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerplexityError {
    /// The text could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
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
    /// The scores of sequences could not be kept.
    #[error(transparent)]
    Scores(Box<dyn Error + Send + Sync>),
    /// The work was interrupted.
    #[error("interrupted")]
    Interrupted,
}
