use discrete_diffusion::objectives::AnswerDraw;
use discrete_diffusion::random_streams::{Stream, stream};

use super::answer_likelihood::AnswerLikelihood;
use super::cloze_reader::ClozeReader;
use super::continuation::Continuation;
use crate::EvalError;

/// What the published figures of PGM and MDLM compare answers by: the bound of BOS, context, answer and EOS together,
/// divided by all their tokens.
///
/// All tokens are hidden alike, those of the context too: each with probability `1 - alpha(t)` and weight `1 / t`, and
/// the sum is divided by the length of the whole sequence, so that answers of different lengths are divided by different
/// numbers. It is no likelihood of the answer given the context, and no autoregressive model has it.
///
/// # Reference
/// `mgm_eval_harness.py` of PGM (arXiv 2505.18883). There a sequence longer than the model reads has log-likelihood 0,
/// which wins; here the context loses its beginning.
#[derive(Debug, Clone, Copy)]
pub struct PublishedLikelihood<'a> {
    /// The model.
    pub reader: ClozeReader<'a>,
    /// Draws for each answer; published figures have 1024.
    pub n_draws: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl PublishedLikelihood<'_> {
    /// How likely each sequence is by the token, in nats.
    ///
    /// # Errors
    /// When a setting is 0, the model is autoregressive, the device fails or a likelihood is not finite.
    pub fn answer_likelihoods(
        &self,
        answers: &[Continuation],
    ) -> Result<Vec<AnswerLikelihood>, EvalError> {
        self.check()?;
        if self.n_draws == 0 {
            return Err(EvalError::Zero { name: "n_draws" });
        }
        let draws: Vec<Vec<AnswerDraw>> = answers.iter().map(|a| self.draws(a)).collect();
        let clozes = answers.iter().zip(&draws).flat_map(|(answer, draws)| {
            let hidden = draws.iter().map(|draw| draw.hidden.clone());
            hidden.map(|hidden| self.reader.cloze(answer, hidden))
        });
        let mut costs = self.reader.costs(&clozes.collect::<Vec<_>>())?.into_iter();
        let likelihoods = answers.iter().zip(&draws).map(|(answer, draws)| {
            let of_draws: Vec<f64> = costs
                .by_ref()
                .take(draws.len())
                .zip(draws)
                .map(|(costs, draw)| {
                    let nats = costs.iter().map(|cost| cost.nll).sum::<f64>();
                    -draw.weight * nats / answer.tokens.len() as f64
                })
                .collect();
            AnswerLikelihood::of_draws(answer, &of_draws, false)
        });
        likelihoods.collect()
    }

    /// Whether each token of the answer is the likeliest given the context and EOS, all at once.
    ///
    /// # Errors
    /// When the model is autoregressive or the device fails.
    ///
    /// # Panics
    /// Panics if an answer has no token in front of its EOS.
    pub fn is_greedy(&self, answers: &[Continuation]) -> Result<Vec<bool>, EvalError> {
        self.check()?;
        let clozes = answers.iter().map(|answer| {
            assert!(answer.n_tokens() > 1, "an answer needs a token before EOS");
            let words = answer.n_context..answer.tokens.len() - 1;
            self.reader.cloze(answer, words.collect())
        });
        let costs = self.reader.costs(&clozes.collect::<Vec<_>>())?;
        let all = costs
            .iter()
            .map(|costs| costs.iter().all(|cost| cost.is_most_likely));
        Ok(all.collect())
    }

    /// Every answer has a random stream of its own.
    fn draws(&self, answer: &Continuation) -> Vec<AnswerDraw> {
        let mut rng = stream(self.seed, Stream::Evaluation, answer.number);
        let n_tokens = answer.tokens.len();
        (0..self.n_draws)
            .map(|draw| AnswerDraw::independent(n_tokens, draw, self.n_draws, &mut rng))
            .collect()
    }

    fn check(&self) -> Result<(), EvalError> {
        if self.reader.is_exact() {
            return Err(EvalError::PublishedLikelihood);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor, activation::log_softmax};
    use discrete_diffusion::{PartitionDenoiser, SequenceDenoiser};
    use pgm_model::LanguageModel;

    use super::super::test_models::{MASK, causal, golden, reader};
    use super::*;

    fn answer(number: u64, tokens: &[u32], n_context: usize) -> Continuation {
        Continuation {
            number,
            tokens: tokens.to_vec(),
            n_context,
        }
    }

    /// Log-probabilities at each position given the tokens that are visible, with the forward pass of training.
    fn log_probs(
        model: &LanguageModel,
        tokens: &[u32],
        visible: &[bool],
        device: &Device,
    ) -> Vec<Vec<f32>> {
        let row = |of: Vec<i64>| Tensor::<1, Int>::from_ints(&of[..], device).unsqueeze_dim(0);
        let ids = tokens.iter().map(|&token| i64::from(token));
        let (logits, order): (Tensor<3>, Vec<usize>) = match model {
            LanguageModel::Partition(network) => {
                let groups = visible.iter().map(|&visible| i64::from(!visible));
                let output = network.partition_logits(row(ids.collect()), row(groups.collect()));
                let order = output.order.try_into_vec_as::<i64>().unwrap();
                (output.logits, order.iter().map(|&at| at as usize).collect())
            }
            LanguageModel::Masked(network) => {
                let ids = ids.zip(visible);
                let ids = ids.map(|(id, &visible)| if visible { id } else { MASK as i64 });
                (
                    network.logits(row(ids.collect())),
                    (0..tokens.len()).collect(),
                )
            }
            LanguageModel::Causal(_) => panic!("it is autoregressive"),
        };
        let log_probs = log_softmax(logits.narrow(2, 0, MASK), 2);
        let log_probs = log_probs.try_into_vec_as::<f32>().unwrap();
        let mut sorted = vec![Vec::new(); tokens.len()];
        for (row, position) in log_probs.chunks(MASK).zip(order) {
            sorted[position] = row.to_vec();
        }
        sorted
    }

    /// The mean over times in `[1e-3, 1]` and over all sets of hidden tokens: a set of `n` among `L` has the weight
    /// integral of `p^n (1 - p)^(L - n) / t`, with `p = 0.999 t`, which a sum over 20,000 times gives.
    fn enumerated(model: &LanguageModel, tokens: &[u32], device: &Device) -> f64 {
        let (n_times, length) = (20_000, tokens.len());
        let times = (0..n_times).map(|i| 1e-3 + 0.999 * (i as f64 + 0.5) / n_times as f64);
        let weight_of = |n: usize| {
            let at = |t: f64| {
                let p = 0.999 * t;
                p.powi(n as i32) * (1.0 - p).powi((length - n) as i32) / t
            };
            times.clone().map(at).sum::<f64>() / n_times as f64
        };
        let weights: Vec<f64> = (0..=length).map(weight_of).collect();
        let sets = (1..1usize << length).map(|bits| {
            let visible: Vec<bool> = (0..length).map(|at| bits >> at & 1 == 0).collect();
            let log_probs = log_probs(model, tokens, &visible, device);
            let hidden: Vec<usize> = (0..length).filter(|&at| !visible[at]).collect();
            let of_hidden = hidden.iter().map(|&at| log_probs[at][tokens[at] as usize]);
            weights[hidden.len()] * of_hidden.map(f64::from).sum::<f64>()
        });
        sets.sum::<f64>() / length as f64
    }

    #[test]
    fn draws_converge_to_the_mean_over_all_tokens_context_and_bos_among_them() {
        let device = Device::flex();
        for name in [
            "weights_pgm_linear_n025.safetensors",
            "weights_mdlm_n025.safetensors",
        ] {
            let model = golden(name);
            let published = PublishedLikelihood {
                reader: reader(&model, &device, 64),
                n_draws: 1500,
                seed: 5,
            };
            let answers = [answer(0, &[0, 17, 4, 99, 0], 3), answer(1, &[0, 60, 0], 1)];
            for (answer, found) in answers
                .iter()
                .zip(published.answer_likelihoods(&answers).unwrap())
            {
                let exact = enumerated(&model, &answer.tokens, &device);
                let error = found.standard_error.unwrap();
                assert!(
                    (found.log_likelihood - exact).abs() <= 4.0 * error,
                    "{name}: {} ± {error}, exactly {exact}",
                    found.log_likelihood
                );
                assert!(error < 0.1 * exact.abs());
                assert_eq!(found.network_evaluations, 1500);
            }
            let again = published.answer_likelihoods(&answers[1..]).unwrap();
            let together = published.answer_likelihoods(&answers).unwrap();
            let difference = again[0].log_likelihood - together[1].log_likelihood;
            assert!(difference.abs() < 1e-4, "nor do other answers matter");
        }
    }

    #[test]
    fn a_last_word_is_greedy_if_all_its_tokens_are_at_once_before_a_known_eos() {
        let device = Device::flex();
        for name in [
            "weights_pgm_linear_n025.safetensors",
            "weights_mdlm_n025.safetensors",
        ] {
            let model = golden(name);
            let published = PublishedLikelihood {
                reader: reader(&model, &device, 128),
                n_draws: 1,
                seed: 5,
            };
            // The likeliest tokens of two positions between context and EOS.
            let visible = [true, true, false, false, true];
            let log_probs = log_probs(&model, &[0, 17, 0, 0, 0], &visible, &device);
            let best = |at: usize| {
                let all = (0..).zip(&log_probs[at]);
                all.max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
            };
            let (first, second): (u32, u32) = (best(2), best(3));
            let other = (second + 1) % MASK as u32;
            let with = |first, second| answer(0, &[0, 17, first, second, 0], 2);
            let answers = [with(first, second), with(first, other), with(other, second)];
            let found = published.is_greedy(&answers).unwrap();
            assert_eq!(found, [true, false, first == other]);
        }
    }

    #[test]
    fn autoregressive_models_have_none() {
        let device = Device::flex();
        let model = causal();
        let published = PublishedLikelihood {
            reader: reader(&model, &device, 4),
            n_draws: 2,
            seed: 1,
        };
        let answers = [answer(0, &[0, 5, 0], 1)];
        let error = published
            .answer_likelihoods(&answers)
            .unwrap_err()
            .to_string();
        assert!(error.contains("take `conditional`"), "{error}");
        assert!(published.is_greedy(&answers).is_err());
    }
}
