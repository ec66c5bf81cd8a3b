use discrete_diffusion::samplers::SampleError;

/// Why a model could not be sampled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// Nothing could be drawn.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// There is nothing to draw.
    #[error("`{name}` is 0, it has to be at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// A sampler was asked for that the model cannot be sampled with.
    #[error("sampler `{sampler}` does not fit this model; wanted one of {wanted}")]
    Sampler {
        /// The sampler's name.
        sampler: &'static str,
        /// What fits.
        wanted: String,
    },
    /// The work was interrupted.
    #[error("interrupted")]
    Interrupted,
}
