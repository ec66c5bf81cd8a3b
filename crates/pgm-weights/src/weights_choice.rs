/// Which weights of a checkpoint to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightsChoice {
    /// Averaged over training; the raw ones if there are no others.
    #[default]
    Average,
    /// As after the last optimizer step.
    Raw,
}

/// Which weights of a file were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsSource {
    /// The average of a training checkpoint.
    Average,
    /// The raw weights of a training checkpoint.
    Raw,
    /// The only ones in the file.
    Only,
}
