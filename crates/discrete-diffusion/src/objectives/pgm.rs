use burn::tensor::{IndexingUpdateOp, Tensor};
use rand::Rng;

use crate::corruption::Sides;
use crate::{
    Corruption, CorruptionDraw, NoiseTime, PartitionDenoiser, TokenBatch, Weighting,
    token_cross_entropy, without_token,
};

/// Partition generative modelling: each group of a random partition is predicted from the other.
///
/// Every token is predicted once in one pass; group 1 counts with the weight of time `t`, group 0
/// with that of `1 - t`, and the sum is halved.
///
/// # Reference
/// PGM (arXiv 2505.18883), section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pgm {
    mask_token: usize,
    weighting: Weighting,
}

impl Pgm {
    /// With the weights of the likelihood bound. `mask_token` is in the vocabulary of published
    /// checkpoints; it is never used as an input, and never predicted.
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

    /// Puts each token into group 1 with probability `1 - alpha(t)`, else into group 0; one time a
    /// sequence.
    ///
    /// # Panics
    /// Panics if the number of times is not that of sequences.
    pub fn partition(
        &self,
        batch: &TokenBatch,
        times: &[NoiseTime],
        rng: &mut impl Rng,
    ) -> CorruptionDraw {
        CorruptionDraw::draw(batch, times, Sides::Both, self.weighting, rng)
    }

    /// A given partition, row by row: true for group 1.
    ///
    /// # Panics
    /// Panics if the flags do not fit the number of times.
    pub fn partition_with(&self, groups: Vec<bool>, times: &[NoiseTime]) -> CorruptionDraw {
        CorruptionDraw::given(groups, times, Sides::Both, self.weighting)
    }

    /// Weighted nats of every token; 0 where it does not count.
    ///
    /// # Shapes
    /// - output: `[batch, seq]`
    pub fn token_nll(
        &self,
        denoiser: &impl PartitionDenoiser,
        batch: &TokenBatch,
        partition: &Corruption,
    ) -> Tensor<2> {
        let groups = partition.groups(&batch.tokens.device());
        let output = denoiser.partition_logits(batch.tokens.clone(), groups);
        let targets = batch.tokens.clone().gather(1, output.order.clone());
        let nll = token_cross_entropy(without_token(output.logits, self.mask_token), targets);
        // Back into the order of the sequence.
        let nll = Tensor::zeros(nll.dims(), &nll.device()).scatter(
            1,
            output.order,
            nll,
            IndexingUpdateOp::Add,
        );
        let weights = partition.weights(batch).to_device(&nll.device());
        nll * weights
    }
}
