use discrete_diffusion::samplers::SampleError;
use pgm_data::DataError;

/// Why a model could not be evaluated or sampled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The text could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Nothing could be drawn.
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
    /// A sampler was asked for that the model cannot be sampled with.
    #[error("sampler `{sampler}` does not fit this model; wanted one of {wanted}")]
    Sampler {
        /// The sampler's name.
        sampler: &'static str,
        /// What fits.
        wanted: String,
    },
    /// The device did not give its results back.
    #[error("the device failed: {reason}")]
    Device {
        /// What it says.
        reason: String,
    },
    /// The work was interrupted.
    #[error("interrupted")]
    Interrupted,
}
