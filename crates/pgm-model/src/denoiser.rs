//! The networks as denoisers: how objectives and samplers see them. The noise level is always 0,
//! as in the published models.

use burn::tensor::{Int, Tensor};
use discrete_diffusion::{
    CausalDenoiser, KnownTokens, PartitionDenoiser, PartitionLogits, QueryPositions,
    SequenceDenoiser,
};

use crate::{CausalDit, Dit, KeyValueCache, PartitionTransformer, SortedTokens};

impl PartitionDenoiser for PartitionTransformer {
    fn partition_logits(&self, tokens: Tensor<2, Int>, groups: Tensor<2, Int>) -> PartitionLogits {
        let sigma = zero_sigma(&tokens);
        let sorted = SortedTokens::new(tokens, groups);
        PartitionLogits {
            order: sorted.positions.clone(),
            logits: self.forward_sorted(sorted, sigma),
        }
    }

    fn known_features(&self, known: KnownTokens, queries: QueryPositions) -> Tensor<3> {
        let sigma = zero_sigma(&known.tokens);
        self.features_known(known, queries, sigma)
    }

    fn project(&self, features: Tensor<2>) -> Tensor<2> {
        Self::project(self, features)
    }
}

impl SequenceDenoiser for Dit {
    fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let sigma = zero_sigma(&tokens);
        self.forward(tokens, sigma)
    }

    fn features_at(&self, tokens: Tensor<2, Int>, places: Tensor<1, Int>) -> Tensor<2> {
        let sigma = zero_sigma(&tokens);
        Self::features_at(self, tokens, places, sigma)
    }

    fn project(&self, features: Tensor<2>) -> Tensor<2> {
        Self::project(self, features)
    }
}

impl CausalDenoiser for CausalDit {
    type Cache = KeyValueCache;

    fn next_logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.forward(tokens)
    }

    fn next_logits_cached(&self, tokens: Tensor<2, Int>, cache: &mut KeyValueCache) -> Tensor<2> {
        self.forward_cached(tokens, cache)
    }
}

fn zero_sigma(tokens: &Tensor<2, Int>) -> Tensor<1> {
    Tensor::zeros([1], &tokens.device())
}
