use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, RngExt};

use crate::samplers::{Predictor, SampleError};
use crate::{NoiseSchedule, draw_hidden, time_sampler, token_cross_entropy, without_token};

/// A draw for the likelihood of some tokens: which of them are hidden, and how much those count.
///
/// [`Self::stratified`] is for an answer given its context, of which nothing is hidden. With `n` uniform in `1..=L` for an answer of `L` tokens, and the hidden tokens `H` uniform among the sets of `n`,
///
/// ```text
/// -log p(answer | context)  <=  E[ L / n  sum over i in H of  -log p(answer_i | context, answer outside of H) ]
/// ```
///
/// This is the bound of masked diffusion for the answer alone, with the integral over the time done: a time in
/// `(0, 1]` with weight `1 / t` and independent masks ([`Self::independent`]) gives each set the same weight, with a higher
/// variance.
///
/// # Reference
/// LLaDA (arXiv 2502.09992), whose code scores answers so. Those of SMDM (arXiv 2410.18514) and PGM (arXiv 2505.18883)
/// draw the time.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerDraw {
    /// Which tokens are hidden, ascending.
    pub hidden: Vec<usize>,
    /// How much the nats of the hidden tokens count: `L / n`, or `1 / t`.
    pub weight: f64,
}

impl AnswerDraw {
    /// Draw `draw` of `n_draws` for an answer of `n_tokens` tokens; the numbers of hidden tokens are spread evenly over
    /// the draws.
    ///
    /// # Panics
    /// Panics if the answer is empty.
    pub fn stratified(n_tokens: usize, draw: usize, n_draws: usize, rng: &mut impl Rng) -> Self {
        assert!(n_tokens > 0, "an answer needs a token");
        let u = (draw as f64 + rng.random::<f64>()) / n_draws as f64;
        let n_hidden = 1 + ((u * n_tokens as f64) as usize).min(n_tokens - 1);
        let mut hidden = rand::seq::index::sample(rng, n_tokens, n_hidden).into_vec();
        hidden.sort_unstable();
        Self {
            hidden,
            weight: n_tokens as f64 / n_hidden as f64,
        }
    }

    /// Draw `draw` of `n_draws` in which each of `n_tokens` tokens is hidden with probability `1 - alpha(t)`, none or all
    /// perhaps, and counts `1 / t`; the times are spread evenly over the draws.
    pub fn independent(n_tokens: usize, draw: usize, n_draws: usize, rng: &mut impl Rng) -> Self {
        let time = time_sampler::stratified(draw, n_draws, rng);
        let hidden = draw_hidden(n_tokens, time, rng).into_iter().enumerate();
        Self {
            hidden: hidden.filter_map(|(at, is)| is.then_some(at)).collect(),
            weight: NoiseSchedule::default().elbo_weight(time),
        }
    }
}

/// A sequence with the tokens that belong to some of its positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Cloze {
    /// What the network may read, `None` where hidden.
    pub sequence: Vec<Option<u32>>,
    /// The positions asked for.
    pub positions: Vec<usize>,
    /// The token that belongs to each of them.
    pub targets: Vec<u32>,
}

/// What the network says of a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenCost {
    /// Its negative log-likelihood in nats.
    pub nll: f64,
    /// Whether no token is likelier.
    pub is_most_likely: bool,
}

impl Cloze {
    /// What each target costs, in one run of the network; `mask_token` is never predicted.
    ///
    /// # Errors
    /// When the device fails.
    pub fn costs(
        clozes: &[&Self],
        predictor: &dyn Predictor,
        mask_token: usize,
        device: &Device,
    ) -> Result<Vec<Vec<TokenCost>>, SampleError> {
        let sequences: Vec<&[Option<u32>]> = clozes.iter().map(|c| &c.sequence[..]).collect();
        let positions: Vec<Vec<usize>> = clozes.iter().map(|c| c.positions.clone()).collect();
        let targets: Vec<i64> = clozes
            .iter()
            .flat_map(|cloze| cloze.targets.iter().map(|&target| i64::from(target)))
            .collect();
        let n_targets = targets.len();
        let logits = predictor.logits(&sequences, &positions, device)?;
        let logits = without_token(logits.unsqueeze_dim(0), mask_token);
        let targets = TensorData::new(targets, [1, n_targets]);
        let targets = Tensor::<2, Int>::from_data(targets, &logits.device());
        let best = logits.clone().max_dim(2);
        let chosen = logits.clone().gather(2, targets.clone().unsqueeze_dim(2));
        let margins: Tensor<2> = (best - chosen).squeeze_dim(2);
        let nll = token_cross_entropy(logits, targets);
        let read = |values: Tensor<2>| {
            values
                .try_into_vec_as::<f32>()
                .map_err(|error| SampleError::Device {
                    reason: error.to_string(),
                })
        };
        let (nll, margins) = (read(nll)?, read(margins)?);
        let mut costs = nll.iter().zip(margins).map(|(&nll, margin)| TokenCost {
            nll: f64::from(nll),
            is_most_likely: margin == 0.0,
        });
        Ok(clozes
            .iter()
            .map(|cloze| costs.by_ref().take(cloze.targets.len()).collect())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn every_number_of_hidden_tokens_is_drawn_equally_often() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        // 12 draws for 4 tokens: three of each number, and the weight is 4 / number.
        let draws: Vec<AnswerDraw> = (0..12)
            .map(|draw| AnswerDraw::stratified(4, draw, 12, &mut rng))
            .collect();
        for n in 1..=4 {
            let of_n = draws.iter().filter(|draw| draw.hidden.len() == n);
            assert_eq!(of_n.clone().count(), 3);
            assert!(of_n.clone().all(|draw| draw.weight == 4.0 / n as f64));
        }
        for draw in &draws {
            assert!(draw.hidden.is_sorted_by(|a, b| a < b));
            assert!(draw.hidden.iter().all(|&at| at < 4));
        }
    }

    #[test]
    fn independent_masks_give_each_token_the_weight_of_the_integral() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let n_draws = 4000;
        let draws = (0..n_draws).map(|draw| AnswerDraw::independent(3, draw, n_draws, &mut rng));
        let draws: Vec<AnswerDraw> = draws.collect();
        // A token is hidden with probability 0.999 t and counts 1 / t: 0.999 in the mean, whatever the time; the
        // deviation of a draw is sqrt(mean of 1 / t) < 2.7, that of the mean below 0.043.
        for token in 0..3 {
            let with = draws.iter().filter(|draw| draw.hidden.contains(&token));
            let mean = with.map(|draw| draw.weight).sum::<f64>() / n_draws as f64;
            assert!((mean - 0.999).abs() < 0.15, "{mean}");
        }
        // Times are spread evenly, from the least to the largest.
        assert!(draws.windows(2).all(|pair| pair[0].weight > pair[1].weight));
        assert!(draws[n_draws - 1].weight < 1.001 && draws[0].weight > 700.0);
        // All are hidden with probability t^3, 1/4 in the mean.
        let n_all = draws.iter().filter(|draw| draw.hidden.len() == 3).count();
        assert!((0.2..0.3).contains(&(n_all as f64 / n_draws as f64)));
        assert!(draws.iter().any(|draw| draw.hidden.is_empty()));
    }
}
