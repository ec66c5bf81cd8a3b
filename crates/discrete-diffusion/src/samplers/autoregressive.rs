use super::revealing::{Revealing, int_rows, select_rows};
use super::{SampleError, SampleRequest, Samples};
use crate::CausalDenoiser;

/// Draws tokens one after the other, from the left.
///
/// The prefix is processed again for every token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AutoregressiveSampler;

impl AutoregressiveSampler {
    /// Draws sequences; `progress` hears of every token done, out of `seq_len - 1`.
    ///
    /// # Errors
    /// When a size is 0, or the network's output cannot be used.
    pub fn sample(
        &self,
        denoiser: &impl CausalDenoiser,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Samples, SampleError> {
        request.check(1)?;
        let mut rows = Revealing::new(request, request.bos_token);
        for position in 1..request.seq_len {
            let prefixes = rows
                .sequences
                .iter()
                .map(|row| row.tokens[..position].iter());
            let logits = denoiser.next_logits(int_rows(prefixes, request.device));
            let last = vec![vec![position - 1]; request.n_sequences];
            let positions = vec![vec![position]; request.n_sequences];
            rows.reveal(request, &positions, select_rows(logits, &last))?;
            progress(position, request.seq_len - 1);
        }
        Ok(Samples {
            sequences: rows.into_tokens(),
            network_evaluations: request.seq_len - 1,
        })
    }
}
