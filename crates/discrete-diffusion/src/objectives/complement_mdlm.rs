use burn::tensor::Tensor;
use rand::Rng;

use crate::corruption::Sides;
use crate::objectives::Mdlm;
use crate::{Corruption, CorruptionDraw, NoiseTime, SequenceDenoiser, TokenBatch, Weighting};

/// Masked diffusion in which a mask and its complement both go through the network, so that every
/// token is predicted once, at twice the cost. It validates as plain [`Mdlm`].
///
/// # Reference
/// PGM (arXiv 2505.18883), the baseline with complementary masking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComplementMdlm {
    mdlm: Mdlm,
    weighting: Weighting,
}

impl ComplementMdlm {
    /// With the weights of the likelihood bound.
    pub fn new(mask_token: usize) -> Self {
        Self {
            mdlm: Mdlm::new(mask_token),
            weighting: Weighting::Elbo,
        }
    }

    /// With other weights in training.
    pub fn with_weighting(mut self, weighting: Weighting) -> Self {
        self.weighting = weighting;
        self
    }

    /// Masks each token with probability `1 - alpha(t)`; its complement is masked in turn.
    ///
    /// # Panics
    /// Panics if the number of times is not that of sequences.
    pub fn corrupt(
        &self,
        batch: &TokenBatch,
        times: &[NoiseTime],
        rng: &mut impl Rng,
    ) -> CorruptionDraw {
        CorruptionDraw::draw(batch, times, Sides::Both, self.weighting, rng)
    }

    /// Weighted nats of every token, each from the pass in which it was masked.
    ///
    /// # Shapes
    /// - output: `[batch, seq]`
    pub fn token_nll(
        &self,
        denoiser: &impl SequenceDenoiser,
        batch: &TokenBatch,
        corruption: &Corruption,
    ) -> Tensor<2> {
        let mask = corruption.hidden_only();
        let complement = corruption.flipped().hidden_only();
        self.mdlm.token_nll(denoiser, batch, &mask)
            + self.mdlm.token_nll(denoiser, batch, &complement)
    }
}
