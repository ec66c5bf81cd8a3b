use std::ops::ControlFlow;

use super::SampleError;
use super::row::Row;

/// How far the sequences of a request are: before the first step, and after each.
#[derive(Debug, Clone, Copy)]
pub struct SamplingProgress<'a> {
    /// Steps done.
    pub n_done: usize,
    /// Steps in all.
    pub n_steps: usize,
    rows: &'a [Row],
}

impl<'a> SamplingProgress<'a> {
    /// Sequences that are drawn together.
    pub fn n_sequences(&self) -> usize {
        self.rows.len()
    }

    /// What is known of a sequence by now: one entry a position, `None` where hidden. Behind the EOS that ended an
    /// autoregressive sequence nothing is ever known.
    ///
    /// # Panics
    /// When there is no such sequence.
    pub fn sequence(&self, index: usize) -> &'a [Option<u32>] {
        &self.rows[index].tokens
    }
}

/// Who hears of every step: breaking stops the work.
pub(super) struct Listener<'a> {
    progress: &'a mut dyn FnMut(SamplingProgress) -> ControlFlow<()>,
}

impl<'a> Listener<'a> {
    pub fn new(progress: &'a mut dyn FnMut(SamplingProgress) -> ControlFlow<()>) -> Self {
        Self { progress }
    }

    /// # Errors
    /// When the work is to stop.
    pub fn hear(&mut self, n_done: usize, n_steps: usize, rows: &[Row]) -> Result<(), SampleError> {
        let heard = SamplingProgress {
            n_done,
            n_steps,
            rows,
        };
        match (self.progress)(heard) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SampleError::Stopped),
        }
    }
}
