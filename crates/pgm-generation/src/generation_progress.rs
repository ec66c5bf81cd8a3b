use discrete_diffusion::samplers::SamplingProgress;

/// How far a [`Generator`](crate::Generator) is: before the first step of every batch, and after each step.
#[derive(Debug, Clone, Copy)]
pub struct GenerationProgress<'a> {
    /// Which batch is drawn, counted from 0.
    pub batch: usize,
    /// Batches in all.
    pub n_batches: usize,
    /// Which of the contexts is the first one of the batch, counted from 0.
    pub first_context: usize,
    /// The steps of this batch, and what is known of its sequences.
    pub steps: SamplingProgress<'a>,
}

impl GenerationProgress<'_> {
    /// Steps done, over all batches.
    pub fn n_done(&self) -> usize {
        self.batch * self.steps.n_steps + self.steps.n_done
    }

    /// Steps in all, over all batches.
    pub fn n_steps(&self) -> usize {
        self.n_batches * self.steps.n_steps
    }
}
