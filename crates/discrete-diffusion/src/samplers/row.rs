use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Context, SampleError, SampleRequest};
use crate::TokenSampler;
use crate::random_streams::{Stream, stream};

/// A sequence on its way, with random streams of its own.
#[derive(Debug)]
pub(super) struct Row {
    /// What is known by now.
    pub tokens: Vec<Option<u32>>,
    /// Which positions the context gave.
    is_given: Vec<bool>,
    /// Decides which positions are revealed.
    pub reveal_rng: ChaCha8Rng,
    /// Decides which tokens they get.
    pub token_rng: ChaCha8Rng,
}

impl Row {
    /// One row a context.
    pub fn from_request(request: &SampleRequest) -> Vec<Self> {
        let row = |(i, context): (usize, &Context)| {
            let index = request.first_sequence + i as u64;
            Self {
                tokens: context.tokens().to_vec(),
                is_given: context.tokens().iter().map(Option::is_some).collect(),
                reveal_rng: stream(request.seed, Stream::Reveal, index),
                token_rng: stream(request.seed, Stream::Tokens, index),
            }
        };
        request.contexts.iter().enumerate().map(row).collect()
    }

    /// Positions without a token, from the left.
    pub fn hidden(&self, range: Range<usize>) -> Vec<usize> {
        range.filter(|&i| self.tokens[i].is_none()).collect()
    }

    /// Positions that have been drawn, from the left.
    pub fn drawn(&self, range: Range<usize>) -> Vec<usize> {
        range
            .filter(|&i| self.tokens[i].is_some() && !self.is_given[i])
            .collect()
    }

    /// Draws the tokens of positions from their logits and reveals them.
    pub fn reveal(
        &mut self,
        predictions: &[(usize, &[f32])],
        tokens: TokenSampler,
    ) -> Result<(), SampleError> {
        let drawn = self.draw(predictions, tokens)?;
        for ((position, _), token) in predictions.iter().zip(drawn) {
            self.tokens[*position] = Some(token);
        }
        Ok(())
    }

    /// Draws the tokens of positions from their logits; the positions stay hidden.
    pub fn draw(
        &mut self,
        predictions: &[(usize, &[f32])],
        tokens: TokenSampler,
    ) -> Result<Vec<u32>, SampleError> {
        let uniform: Vec<f64> = predictions
            .iter()
            .map(|_| self.token_rng.random())
            .collect();
        let drawn = predictions
            .par_iter()
            .zip(uniform)
            .map(|((_, logits), uniform)| tokens.draw(logits, uniform))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(drawn)
    }

    /// The sequence, once all of it is known.
    pub fn into_tokens(self) -> Vec<u32> {
        let known = |token: Option<u32>| token.expect("the last step reveals every position");
        self.tokens.into_iter().map(known).collect()
    }
}

/// `n` of the positions, all choices equally likely, in their order. Fisher-Yates, written out so that the
/// choice never changes with a library's version.
pub(super) fn random_subset(
    mut positions: Vec<usize>,
    n: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    if n >= positions.len() {
        return positions;
    }
    shuffle_first(&mut positions, n, rng);
    positions.truncate(n);
    positions.sort_unstable();
    positions
}

/// Puts a random choice of `n` items, in random order, first.
pub(super) fn shuffle_first<T>(items: &mut [T], n: usize, rng: &mut ChaCha8Rng) {
    for i in 0..n.min(items.len()) {
        let j = rng.random_range(i..items.len());
        items.swap(i, j);
    }
}

/// How many of `n` independent events of a probability happen.
pub(super) fn binomial(n: usize, probability: f64, rng: &mut ChaCha8Rng) -> usize {
    (0..n).filter(|_| rng.random::<f64>() < probability).count()
}
