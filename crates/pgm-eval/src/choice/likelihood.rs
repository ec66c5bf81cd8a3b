use discrete_diffusion::objectives::{AnswerDraw, Cloze, TokenCost};
use discrete_diffusion::random_streams::{Stream, stream};

use super::answer_likelihood::AnswerLikelihood;
use super::cloze_reader::ClozeReader;
use super::continuation::Continuation;
use crate::EvalError;

/// How likely a model finds answers given their contexts.
///
/// For diffusion models (PGM, MDLM) the bound of [`AnswerDraw`]: the mean over draws of `L / n` times the nats of the
/// `n` hidden tokens of an answer of `L`. For autoregressive models the sum over the answer's tokens, exactly.
#[derive(Debug, Clone, Copy)]
pub struct ConditionalLikelihood<'a> {
    /// The model.
    pub reader: ClozeReader<'a>,
    /// Draws for each answer; an answer of one token needs one, an autoregressive model none.
    pub n_draws: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl ConditionalLikelihood<'_> {
    /// How likely each answer is.
    ///
    /// # Errors
    /// When a setting is 0, the device fails or a likelihood is not finite.
    ///
    /// # Panics
    /// Panics if an answer or its context has no token.
    pub fn answer_likelihoods(
        &self,
        answers: &[Continuation],
    ) -> Result<Vec<AnswerLikelihood>, EvalError> {
        if self.n_draws == 0 {
            return Err(EvalError::Zero { name: "n_draws" });
        }
        let draws: Vec<Vec<AnswerDraw>> = answers.iter().map(|a| self.draws(a)).collect();
        let clozes = answers
            .iter()
            .zip(&draws)
            .flat_map(|(answer, draws)| draws.iter().map(|draw| self.cloze(answer, &draw.hidden)));
        let mut costs = self.reader.costs(&clozes.collect::<Vec<_>>())?.into_iter();
        let likelihoods = answers.iter().zip(&draws).map(|(answer, draws)| {
            let log_likelihoods: Vec<f64> = costs
                .by_ref()
                .take(draws.len())
                .zip(draws)
                .map(|(costs, draw)| -draw.weight * costs.iter().map(|cost| cost.nll).sum::<f64>())
                .collect();
            let is_exact = self.reader.is_exact() || answer.n_tokens() == 1;
            AnswerLikelihood::of_draws(answer, &log_likelihoods, is_exact)
        });
        likelihoods.collect()
    }

    /// Whether greedy decoding from left to right gives the answer: each of its tokens is the likeliest given the
    /// context and the answer before it. Behind it, diffusion models see as many hidden tokens as the answer has left.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// As [`Self::answer_likelihoods`].
    pub fn is_greedy(&self, answers: &[Continuation]) -> Result<Vec<bool>, EvalError> {
        let clozes: Vec<Cloze> = answers
            .iter()
            .flat_map(|answer| {
                (0..n_tokens(answer)).map(|first| {
                    let hidden: Vec<usize> = (first..answer.n_tokens()).collect();
                    let mut cloze = self.cloze(answer, &hidden);
                    cloze.positions.truncate(1);
                    cloze.targets.truncate(1);
                    cloze
                })
            })
            .collect();
        let mut costs = self.reader.costs(&clozes)?.into_iter();
        Ok(answers
            .iter()
            .map(|answer| {
                let of_answer: Vec<Vec<TokenCost>> =
                    costs.by_ref().take(answer.n_tokens()).collect();
                of_answer.iter().flatten().all(|cost| cost.is_most_likely)
            })
            .collect())
    }

    /// Every answer has a random stream of its own. What is exact anyway is asked once.
    fn draws(&self, answer: &Continuation) -> Vec<AnswerDraw> {
        let n_tokens = n_tokens(answer);
        if self.reader.is_exact() || n_tokens == 1 {
            return vec![AnswerDraw {
                hidden: (0..n_tokens).collect(),
                weight: 1.0,
            }];
        }
        let mut rng = stream(self.seed, Stream::Evaluation, answer.number);
        (0..self.n_draws)
            .map(|draw| AnswerDraw::stratified(n_tokens, draw, self.n_draws, &mut rng))
            .collect()
    }

    /// Asks for some tokens of an answer.
    fn cloze(&self, answer: &Continuation, hidden: &[usize]) -> Cloze {
        let places = hidden.iter().map(|at| answer.n_context + at);
        self.reader.cloze(answer, places.collect())
    }
}

/// Tokens of an answer. One without any would be certain, and the likeliest of all.
fn n_tokens(answer: &Continuation) -> usize {
    assert!(
        answer.n_context > 0 && answer.n_tokens() > 0,
        "an answer and its context need a token: {} of them are context of {answer:?}",
        answer.n_context
    );
    answer.n_tokens()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use burn::tensor::{Device, Int, Tensor, activation::log_softmax};
    use discrete_diffusion::CausalDenoiser;
    use pgm_model::LanguageModel;

    use super::super::test_models::{MASK, causal, golden, reader};
    use super::*;

    fn likelihood<'a>(
        model: &'a LanguageModel,
        device: &'a Device,
        n_draws: usize,
        batch_size: usize,
    ) -> ConditionalLikelihood<'a> {
        ConditionalLikelihood {
            reader: reader(model, device, batch_size),
            n_draws,
            seed: 5,
        }
    }

    fn answers() -> Vec<Continuation> {
        let answer = |number, tokens: &[u32], n_context| Continuation {
            number,
            tokens: tokens.to_vec(),
            n_context,
        };
        vec![
            answer(0, &[0, 17, 4, 99, 50, 3], 3),
            answer(1, &[0, 5], 1),
            answer(2, &[0, 17, 4, 8, 8], 3),
            answer(3, &[0, 60, 61, 62], 2),
        ]
    }

    /// The bound over all sets of hidden tokens of an answer.
    fn enumerated(likelihood: &ConditionalLikelihood, answer: &Continuation) -> f64 {
        let n_tokens = answer.n_tokens();
        let sets: Vec<Vec<usize>> = (1..1usize << n_tokens)
            .map(|bits| (0..n_tokens).filter(|at| bits >> at & 1 == 1).collect())
            .collect();
        let clozes: Vec<Cloze> = sets.iter().map(|s| likelihood.cloze(answer, s)).collect();
        let costs = likelihood.reader.costs(&clozes).unwrap();
        let choose = |n: usize| sets.iter().filter(|set| set.len() == n).count() as f64;
        sets.iter()
            .zip(costs)
            .map(|(set, costs)| {
                let nats: f64 = costs.iter().map(|cost| cost.nll).sum();
                // The number of hidden tokens is 1 / L, a set of it 1 / choose, the weight L / n.
                -nats / (choose(set.len()) * set.len() as f64)
            })
            .sum()
    }

    #[test]
    fn draws_converge_to_the_bound_over_all_sets_of_hidden_tokens() {
        let device = Device::flex();
        for name in [
            "weights_pgm_linear_n025.safetensors",
            "weights_mdlm_n025.safetensors",
        ] {
            let model = golden(name);
            let many = likelihood(&model, &device, 600, 64);
            let answers = answers();
            for (answer, found) in answers
                .iter()
                .zip(many.answer_likelihoods(&answers).unwrap())
            {
                let exact = enumerated(&many, answer);
                let error = found.standard_error.unwrap();
                let difference = (found.log_likelihood - exact).abs();
                assert!(
                    difference <= 4.0 * error + 1e-4,
                    "{name}: {} ± {error}, exactly {exact}",
                    found.log_likelihood
                );
                let n_evaluations = if answer.n_tokens() == 1 { 1 } else { 600 };
                assert_eq!(found.network_evaluations, n_evaluations);
                assert_eq!(error > 0.0, answer.n_tokens() > 1);
                assert!(error < 0.05 * exact.abs());
            }
        }
    }

    #[test]
    fn autoregressive_likelihoods_are_sums_of_log_probabilities() {
        let device = Device::flex();
        let model = causal();
        let LanguageModel::Causal(network) = &model else {
            panic!("it is autoregressive");
        };
        let exact = likelihood(&model, &device, 7, 3);
        let answers = answers();
        let is_greedy = exact.is_greedy(&answers).unwrap();
        for (i, found) in exact
            .answer_likelihoods(&answers)
            .unwrap()
            .into_iter()
            .enumerate()
        {
            let answer = &answers[i];
            let tokens: Vec<i64> = answer.tokens.iter().map(|&token| token as i64).collect();
            let row = Tensor::<1, Int>::from_ints(&tokens[..], &device).unsqueeze_dim(0);
            // Without MASK, the last of the vocabulary.
            let logits = network.next_logits(row).narrow(2, 0, MASK);
            let log_probs = log_softmax(logits, 2).try_into_vec_as::<f32>().unwrap();
            let of = |position: usize| {
                let row = &log_probs[(position - 1) * MASK..position * MASK];
                let chosen = row[answer.tokens[position] as usize];
                (f64::from(chosen), row.iter().all(|&other| other <= chosen))
            };
            let direct: Vec<(f64, bool)> =
                (answer.n_context..answer.tokens.len()).map(of).collect();
            let sum: f64 = direct.iter().map(|(log_prob, _)| log_prob).sum();
            assert!((found.log_likelihood - sum).abs() < 1e-4, "{found:?} {sum}");
            assert_eq!(found.standard_error, Some(0.0));
            assert_eq!(found.network_evaluations, 1);
            assert_eq!(is_greedy[i], direct.iter().all(|(_, likeliest)| *likeliest));
        }
    }

    #[test]
    fn likelihoods_do_not_depend_on_the_batch_size() {
        let device = Device::flex();
        let answers = answers();
        for model in [
            golden("weights_pgm_linear_n025.safetensors"),
            golden("weights_mdlm_n025.safetensors"),
            causal(),
        ] {
            let of = |batch_size| {
                likelihood(&model, &device, 3, batch_size)
                    .answer_likelihoods(&answers)
                    .unwrap()
            };
            let alone = of(1);
            for batch_size in [2, 5, 64] {
                for (a, b) in alone.iter().zip(of(batch_size)) {
                    let difference = (a.log_likelihood - b.log_likelihood).abs();
                    assert!(difference < 1e-4, "{a:?} {b:?}");
                }
            }
            // Nor on the other answers.
            let single = likelihood(&model, &device, 3, 4)
                .answer_likelihoods(&answers[2..3])
                .unwrap();
            assert!((single[0].log_likelihood - alone[2].log_likelihood).abs() < 1e-4);
        }
    }

    #[test]
    fn the_likeliest_answer_is_greedy() {
        let device = Device::flex();
        let model = golden("weights_pgm_linear_n025.safetensors");
        let likelihood = likelihood(&model, &device, 1, 128);
        let with = |token| Continuation {
            number: 0,
            tokens: vec![0, 17, 4, token],
            n_context: 3,
        };
        let all: Vec<Continuation> = (0..MASK as u32).map(with).collect();
        let costs = likelihood.answer_likelihoods(&all).unwrap();
        let best = costs
            .iter()
            .map(|l| l.log_likelihood)
            .fold(f64::MIN, f64::max);
        let is_greedy = likelihood.is_greedy(&all).unwrap();
        assert_eq!(is_greedy.iter().filter(|&&greedy| greedy).count(), 1);
        for (likelihood, greedy) in costs.iter().zip(is_greedy) {
            assert_eq!(likelihood.log_likelihood == best, greedy);
        }
    }

    #[test]
    fn answers_without_a_token_are_no_certainties() {
        let device = Device::flex();
        for model in [golden("weights_mdlm_n025.safetensors"), causal()] {
            let likelihood = likelihood(&model, &device, 2, 4);
            let empty = [Continuation {
                number: 0,
                tokens: vec![0, 17],
                n_context: 2,
            }];
            let call = AssertUnwindSafe(|| likelihood.answer_likelihoods(&empty).is_ok());
            let is_greedy = AssertUnwindSafe(|| likelihood.is_greedy(&empty).is_ok());
            for asked in [catch_unwind(call), catch_unwind(is_greedy)] {
                let panic = asked.unwrap_err();
                let words = panic.downcast_ref::<String>().unwrap();
                assert!(words.contains("need a token"), "{words}");
            }
        }
    }
}
