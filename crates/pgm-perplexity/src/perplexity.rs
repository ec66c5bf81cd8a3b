use std::ops::ControlFlow;

use burn::data::dataset::Dataset;
use burn::tensor::{Device, Int, Tensor, TensorData};
use discrete_diffusion::objectives::{Autoregressive, Mdlm, Pgm};
use discrete_diffusion::random_streams::{Stream, stream};
use discrete_diffusion::{NoiseTime, TokenBatch};
use pgm_data::TokenSequence;
use pgm_model::LanguageModel;
use serde::Serialize;

use crate::{EvaluationTimes, PerplexityError, RatioEstimate, ScoredSequence, SequenceScores};

/// How the perplexity of a model on a set of sequences is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Perplexity {
    /// Sequences to use, from the start of the set; `None` for all.
    pub n_sequences: Option<usize>,
    /// Masks or partitions drawn for each sequence; autoregressive models need none.
    pub n_draws: usize,
    /// Over which times the nats of a diffusion model are integrated.
    pub times: EvaluationTimes,
    /// Sequences that go through the network at once.
    pub batch_size: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The id of MASK.
    pub mask_token: usize,
}

/// What a perplexity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PerplexityKind {
    /// That of the sequences, of an autoregressive model.
    Exact,
    /// The estimate of an upper bound, with [`EvaluationTimes::Full`].
    UpperBound,
    /// The estimate that the publications of MDLM and PGM give, with [`EvaluationTimes::Published`]; no bound.
    Published,
}

/// A perplexity and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PerplexityReport {
    /// What `nll` and `perplexity` are.
    pub kind: PerplexityKind,
    /// Nats per token.
    pub nll: f64,
    /// Standard error of `nll`, over sequences and draws.
    pub nll_standard_error: f64,
    /// `exp(nll)`.
    pub perplexity: f64,
    /// Standard error of the perplexity, `perplexity * nll_standard_error`.
    pub perplexity_standard_error: f64,
    /// Sequences used.
    pub n_sequences: usize,
    /// Tokens counted.
    pub n_tokens: usize,
    /// Masks drawn for each sequence; 0 means that the value is exact for these sequences.
    pub n_draws: usize,
}

impl Perplexity {
    /// Scores the sequences that `scores` has not yet, batch by batch, and sums all up. `progress` hears of
    /// sequences done and of all, and stops the work by breaking.
    ///
    /// For diffusion models each draw hides tokens as `times` says, spread evenly over draws, and hidden tokens count
    /// with the weight `1 / t`. Every valid token is in the denominator, the first and the last of a row too, as in the
    /// published code, so that MDLM and PGM compare. Autoregressive models predict all tokens but the first.
    /// What bounds the likelihood of rows with padding bounds that of their valid tokens, given where padding is.
    ///
    /// A score depends on the seed and the number of its sequence, not on the batch size (but for rounding) nor on
    /// what was scored before. Batches begin at multiples of the batch size, so that an estimate which goes on
    /// after whole batches gives the very numbers of one that was left alone.
    ///
    /// # Errors
    /// When there is nothing to evaluate, the loss is not finite, the scores cannot be kept, or the work is stopped.
    pub fn estimate(
        &self,
        model: &LanguageModel,
        data: &dyn Dataset<TokenSequence>,
        device: &Device,
        scores: &mut dyn SequenceScores,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<PerplexityReport, PerplexityError> {
        let (kind, n_draws) = match (model, self.times) {
            (LanguageModel::Causal(_), _) => (PerplexityKind::Exact, 0),
            (_, EvaluationTimes::Full) => (PerplexityKind::UpperBound, self.n_draws),
            (_, EvaluationTimes::Published) => (PerplexityKind::Published, self.n_draws),
        };
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("n_draws", self.n_draws),
            ("n_sequences", self.n_sequences.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(PerplexityError::Zero { name });
            }
        }
        let available = data.len();
        let n_sequences = self.n_sequences.unwrap_or(available).min(available);
        while scores.scored().len() < n_sequences {
            let start = scores.scored().len();
            let end = (start - start % self.batch_size + self.batch_size).min(n_sequences);
            let indices: Vec<usize> = (start..end).collect();
            let batch = pgm_data::TokenBatch::collect(data, &indices)?;
            scores.append(self.score(model, &batch, start, device)?)?;
            if progress(end, n_sequences).is_break() && end < n_sequences {
                return Err(PerplexityError::Interrupted);
            }
        }
        let sums: Vec<(f64, usize)> = scores.scored()[..n_sequences]
            .iter()
            .map(|sequence| (sequence.nats, sequence.n_tokens))
            .collect();
        let estimate = RatioEstimate::new(&sums).ok_or(PerplexityError::Zero { name: "tokens" })?;
        let perplexity = estimate.mean.exp();
        Ok(PerplexityReport {
            kind,
            nll: estimate.mean,
            nll_standard_error: estimate.standard_error,
            perplexity,
            perplexity_standard_error: perplexity * estimate.standard_error,
            n_sequences: estimate.n_sequences,
            n_tokens: estimate.n_tokens,
            n_draws,
        })
    }

    /// The sequences of a batch, the first of which has number `first_sequence`.
    fn score(
        &self,
        model: &LanguageModel,
        host: &pgm_data::TokenBatch,
        first_sequence: usize,
        device: &Device,
    ) -> Result<Vec<ScoredSequence>, PerplexityError> {
        let batch = device_batch(host, device);
        let nll = match model {
            LanguageModel::Causal(network) => {
                let objective = Autoregressive::new(Some(self.mask_token));
                row_sums(objective.token_nll(network, &batch))?
            }
            LanguageModel::Masked(network) => {
                let objective = Mdlm::new(self.mask_token);
                self.average_draws(first_sequence, host, |masked, times| {
                    let corruption = objective.corrupt_with(masked, times).evaluation();
                    objective.token_nll(network, &batch, &corruption)
                })?
            }
            LanguageModel::Partition(network) => {
                let objective = Pgm::new(self.mask_token);
                self.average_draws(first_sequence, host, |groups, times| {
                    let partition = objective.partition_with(groups, times).evaluation();
                    objective.token_nll(network, &batch, &partition)
                })?
            }
        };
        let skipped = usize::from(matches!(model, LanguageModel::Causal(_)));
        let counts = batch
            .valid
            .chunks(host.seq_len)
            .map(|row| row[skipped..].iter().filter(|&&valid| valid).count());
        let rows = (first_sequence..).zip(nll.into_iter().zip(counts));
        rows.map(|(number, (nats, n_tokens))| {
            if nats.is_finite() {
                Ok(ScoredSequence {
                    number,
                    nats,
                    n_tokens,
                })
            } else {
                Err(PerplexityError::NotFinite {
                    sequence: number,
                    value: nats,
                })
            }
        })
        .collect()
    }

    /// Every sequence has a random stream of its own, so that the result does not depend on the
    /// batch size.
    fn average_draws(
        &self,
        first_sequence: usize,
        host: &pgm_data::TokenBatch,
        mut token_nll: impl FnMut(Vec<bool>, &[NoiseTime]) -> Tensor<2>,
    ) -> Result<Vec<f64>, PerplexityError> {
        let mut streams: Vec<_> = (0..host.batch_size)
            .map(|row| stream(self.seed, Stream::Evaluation, (first_sequence + row) as u64))
            .collect();
        let mut total = vec![0.0; host.batch_size];
        for draw in 0..self.n_draws {
            let (mut hidden, mut times) = (Vec::new(), Vec::new());
            for rng in &mut streams {
                let (of_row, time) = self.times.draw(host.seq_len, draw, self.n_draws, rng);
                hidden.extend(of_row);
                times.push(time);
            }
            let sums = row_sums(token_nll(hidden, &times))?;
            for (total, sum) in total.iter_mut().zip(sums) {
                *total += sum / self.n_draws as f64;
            }
        }
        Ok(total)
    }
}

/// Moves a batch to a device.
fn device_batch(host: &pgm_data::TokenBatch, device: &Device) -> TokenBatch {
    let tokens: Vec<i64> = host.tokens.iter().map(|&token| token as i64).collect();
    let shape = [host.batch_size, host.seq_len];
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, shape), device);
    TokenBatch::new(tokens, host.valid.clone())
}

/// The sum of each row, added up in float64 on the host.
fn row_sums(nll: Tensor<2>) -> Result<Vec<f64>, PerplexityError> {
    let width = nll.dims()[1];
    let values = nll
        .try_into_vec_as::<f32>()
        .map_err(|error| PerplexityError::Device {
            reason: error.to_string(),
        })?;
    Ok(values
        .chunks(width)
        .map(|row| row.iter().map(|&x| x as f64).sum())
        .collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::data::dataset::InMemDataset;
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::Distribution;
    use pgm_model::{CausalDitConfig, LanguageModelConfig};
    use pgm_weights::{WeightsChoice, WeightsFile};

    use super::*;

    const MASK: usize = 100;

    /// A diffusion model with random weights among the golden values of `pgm-weights`.
    fn golden(name: &str) -> LanguageModel {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../pgm-weights/tests/golden")
            .join(name);
        let file = WeightsFile::open(path, WeightsChoice::default()).unwrap();
        file.load(Some(4), &Device::flex()).unwrap()
    }

    fn causal() -> LanguageModel {
        struct Randomise;
        impl ModuleMapper for Randomise {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|weights| weights.random_like(Distribution::Normal(0.0, 0.3)))
            }
        }
        let config = LanguageModelConfig::Causal(CausalDitConfig {
            vocab_size: MASK + 1,
            d_model: 16,
            n_heads: 2,
            n_blocks: 1,
            mlp_ratio: 2,
            dropout: 0.0,
        });
        config.init(&Device::flex()).map(&mut Randomise)
    }

    /// Seven sequences of 12 tokens, of which the last one or two do not count.
    fn data() -> InMemDataset<TokenSequence> {
        let sequence = |i: usize| TokenSequence {
            tokens: (0..12).map(|j| (i * i + 17 * j) as u32 % 100).collect(),
            valid: (0..12).map(|j| j < 10 + i % 2).collect(),
        };
        InMemDataset::new((0..7).map(sequence).collect())
    }

    fn perplexity(batch_size: usize, n_sequences: Option<usize>) -> Perplexity {
        Perplexity {
            n_sequences,
            n_draws: 3,
            times: EvaluationTimes::Published,
            batch_size,
            seed: 5,
            mask_token: MASK,
        }
    }

    #[test]
    fn scores_do_not_depend_on_the_batch_size() {
        for model in [
            golden("weights_pgm_linear_n025.safetensors"),
            golden("weights_mdlm_n025.safetensors"),
            causal(),
        ] {
            let with = |batch_size| {
                let mut scores = Vec::new();
                let report = perplexity(batch_size, None)
                    .estimate(
                        &model,
                        &data(),
                        &Device::flex(),
                        &mut scores,
                        &mut |_, _| ControlFlow::Continue(()),
                    )
                    .unwrap();
                (scores, report)
            };
            let (alone, report) = with(1);
            let skipped = usize::from(matches!(model, LanguageModel::Causal(_)));
            let n_tokens: Vec<usize> = alone.iter().map(|score| score.n_tokens).collect();
            let wanted = [10, 11, 10, 11, 10, 11, 10].map(|n| n - skipped);
            assert_eq!(n_tokens, wanted);
            assert_eq!(report.n_tokens, wanted.iter().sum::<usize>());
            assert_eq!((report.n_sequences, alone[6].number), (7, 6));
            for batch_size in [2, 3, 64] {
                let (together, other) = with(batch_size);
                for (a, b) in alone.iter().zip(&together) {
                    assert!((a.nats / b.nats - 1.0).abs() < 1e-5, "{a:?} {b:?}");
                }
                assert!((report.nll / other.nll - 1.0).abs() < 1e-5);
                let errors = report.nll_standard_error / other.nll_standard_error;
                assert!((errors - 1.0).abs() < 1e-4);
            }
        }
    }
}
