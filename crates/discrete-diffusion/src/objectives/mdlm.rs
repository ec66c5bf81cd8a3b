use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use rand::Rng;

use crate::corruption::Sides;
use crate::{
    Corruption, CorruptionDraw, NoiseTime, SequenceDenoiser, TokenBatch, Weighting,
    token_cross_entropy, without_token,
};

/// Masked diffusion: tokens are replaced by MASK and predicted from the ones that are left.
///
/// # Reference
/// MDLM (arXiv 2406.07524).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mdlm {
    mask_token: usize,
    weighting: Weighting,
}

impl Mdlm {
    /// With the weights of the likelihood bound.
    pub fn new(mask_token: usize) -> Self {
        Self {
            mask_token,
            weighting: Weighting::Elbo,
        }
    }

    /// With other weights in training.
    pub fn with_weighting(mut self, weighting: Weighting) -> Self {
        self.weighting = weighting;
        self
    }

    /// Masks each token with probability `1 - alpha(t)`; one time a sequence.
    ///
    /// # Panics
    /// Panics if the number of times is not that of sequences.
    pub fn corrupt(
        &self,
        batch: &TokenBatch,
        times: &[NoiseTime],
        rng: &mut impl Rng,
    ) -> CorruptionDraw {
        CorruptionDraw::draw(batch, times, Sides::Hidden, self.weighting, rng)
    }

    /// A given mask, row by row.
    ///
    /// # Panics
    /// Panics if the flags do not fit the number of times.
    pub fn corrupt_with(&self, masked: Vec<bool>, times: &[NoiseTime]) -> CorruptionDraw {
        CorruptionDraw::given(masked, times, Sides::Hidden, self.weighting)
    }

    /// Weighted nats of every token; 0 where it is visible or does not count.
    ///
    /// # Shapes
    /// - output: `[batch, seq]`
    pub fn token_nll(
        &self,
        denoiser: &impl SequenceDenoiser,
        batch: &TokenBatch,
        corruption: &Corruption,
    ) -> Tensor<2> {
        let is_masked = corruption.groups(&batch.tokens.device()).equal_elem(1);
        let noisy = batch
            .tokens
            .clone()
            .mask_fill(is_masked, self.mask_token as i64);
        let logits = without_token(denoiser.logits(noisy), self.mask_token);
        let nll = token_cross_entropy(logits, batch.tokens.clone());
        let weights = corruption.weights(batch).to_device(&nll.device());
        nll * weights
    }

    /// Log-probabilities under the SUBS parameterisation: MASK is impossible, and a visible token
    /// predicts itself with probability 1.
    ///
    /// # Shapes
    /// - noisy: `[batch, seq]`
    /// - output: `[batch, seq, vocab_size]`
    pub fn log_probs(&self, denoiser: &impl SequenceDenoiser, noisy: Tensor<2, Int>) -> Tensor<3> {
        let logits = without_token(denoiser.logits(noisy.clone()), self.mask_token);
        let [batch, seq_len, vocab_size] = logits.dims();
        let device = logits.device();
        let visible = noisy
            .clone()
            .not_equal_elem(self.mask_token as i64)
            .unsqueeze_dim::<3>(2)
            .expand([batch, seq_len, vocab_size]);
        let itself = Tensor::<1, Int>::arange(0..vocab_size as i64, &device)
            .reshape([1, 1, vocab_size])
            .expand([batch, seq_len, vocab_size])
            .equal(
                noisy
                    .unsqueeze_dim::<3>(2)
                    .expand([batch, seq_len, vocab_size]),
            );
        log_softmax(logits, 2)
            .mask_fill(visible.clone(), f32::NEG_INFINITY)
            .mask_fill(visible.bool_and(itself), 0.0)
    }
}
