use super::revealing::{Revealing, select_rows, steps};
use super::{SampleError, SampleRequest, Samples};
use crate::SequenceDenoiser;

/// Ancestral sampling of an MDLM: between the times `t` and `s` a hidden position is revealed with
/// probability `(t - s) / t` and drawn from the prediction; a last step reveals the rest.
///
/// The network is not run for a step that reveals nothing anywhere in the batch: what it would
/// predict is not used.
///
/// # Reference
/// MDLM (arXiv 2406.07524), section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MdlmAncestral {
    /// Steps from time 1 to time 1e-5.
    pub n_steps: usize,
    /// The id of MASK.
    pub mask_token: u32,
}

impl MdlmAncestral {
    /// Draws sequences; `progress` hears of every step done, out of `n_steps + 1`.
    ///
    /// # Errors
    /// When a size is 0, or the network's output cannot be used.
    pub fn sample(
        &self,
        denoiser: &impl SequenceDenoiser,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Samples, SampleError> {
        request.check(self.n_steps)?;
        let mut rows = Revealing::new(request, self.mask_token);
        let mut network_evaluations = 0;
        for (i, (t, s)) in steps(self.n_steps).enumerate() {
            let positions = rows.positions_to_reveal(t, s);
            if positions.iter().any(|positions| !positions.is_empty()) {
                let logits = denoiser.logits(rows.tokens(request.device));
                network_evaluations += 1;
                rows.reveal(request, &positions, select_rows(logits, &positions))?;
            }
            progress(i + 1, self.n_steps + 1);
        }
        Ok(Samples {
            sequences: rows.into_tokens(),
            network_evaluations,
        })
    }
}
