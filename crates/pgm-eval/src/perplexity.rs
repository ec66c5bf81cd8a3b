use burn::data::dataset::Dataset;
use burn::tensor::{Device, Int, Tensor, TensorData};
use discrete_diffusion::objectives::{Autoregressive, Mdlm, Pgm};
use discrete_diffusion::random_streams::{Stream, stream};
use discrete_diffusion::{NoiseTime, TokenBatch, draw_hidden, time_sampler};
use pgm_data::TokenSequence;
use pgm_model::LanguageModel;
use serde::Serialize;

use crate::{EvalError, RatioEstimate};

/// How the perplexity of a model on a set of sequences is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Perplexity {
    /// Sequences to use, from the start of the set; `None` for all.
    pub n_sequences: Option<usize>,
    /// Masks or partitions drawn for each sequence; autoregressive models need none.
    pub n_draws: usize,
    /// Sequences that go through the network at once.
    pub batch_size: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The id of MASK.
    pub mask_token: usize,
}

/// A perplexity and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PerplexityReport {
    /// Nats per token; an upper bound for diffusion models.
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
    /// Runs the estimate; `progress` hears of sequences done and of all, and stops the work by
    /// returning false.
    ///
    /// For diffusion models each draw hides tokens with its own time, spread evenly over draws, and
    /// hidden tokens count with the weight of the likelihood bound; every valid token is in the
    /// denominator, so that MDLM and PGM compare. Autoregressive models predict all tokens but
    /// the first.
    ///
    /// # Errors
    /// When there is nothing to evaluate, the loss is not finite, or the work is stopped.
    pub fn estimate(
        &self,
        model: &LanguageModel,
        data: &dyn Dataset<TokenSequence>,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<PerplexityReport, EvalError> {
        let n_draws = match model {
            LanguageModel::Causal(_) => 0,
            _ => self.n_draws,
        };
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("n_draws", self.n_draws),
            ("n_sequences", self.n_sequences.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(EvalError::Zero { name });
            }
        }
        let available = data.len();
        let n_sequences = self.n_sequences.unwrap_or(available).min(available);
        let mut sums = Vec::with_capacity(n_sequences);
        for start in (0..n_sequences).step_by(self.batch_size) {
            let indices: Vec<usize> = (start..(start + self.batch_size).min(n_sequences)).collect();
            let batch = pgm_data::TokenBatch::collect(data, &indices)?;
            sums.extend(self.sequence_sums(model, &batch, start, device)?);
            if !progress(sums.len(), n_sequences) {
                return Err(EvalError::Interrupted);
            }
        }
        let estimate = RatioEstimate::new(&sums).ok_or(EvalError::Zero { name: "tokens" })?;
        let perplexity = estimate.mean.exp();
        Ok(PerplexityReport {
            nll: estimate.mean,
            nll_standard_error: estimate.standard_error,
            perplexity,
            perplexity_standard_error: perplexity * estimate.standard_error,
            n_sequences: estimate.n_sequences,
            n_tokens: estimate.n_tokens,
            n_draws,
        })
    }

    /// Nats, averaged over draws, and tokens of each sequence.
    fn sequence_sums(
        &self,
        model: &LanguageModel,
        host: &pgm_data::TokenBatch,
        first_sequence: usize,
        device: &Device,
    ) -> Result<Vec<(f64, usize)>, EvalError> {
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
        let rows: Vec<(f64, usize)> = nll.into_iter().zip(counts).collect();
        match rows.iter().position(|(sum, _)| !sum.is_finite()) {
            Some(row) => Err(EvalError::NotFinite {
                sequence: first_sequence + row,
                value: rows[row].0,
            }),
            None => Ok(rows),
        }
    }

    /// Every sequence has a random stream of its own, so that the result does not depend on the
    /// batch size.
    fn average_draws(
        &self,
        first_sequence: usize,
        host: &pgm_data::TokenBatch,
        mut token_nll: impl FnMut(Vec<bool>, &[NoiseTime]) -> Tensor<2>,
    ) -> Result<Vec<f64>, EvalError> {
        let mut streams: Vec<_> = (0..host.batch_size)
            .map(|row| stream(self.seed, Stream::Evaluation, (first_sequence + row) as u64))
            .collect();
        let mut total = vec![0.0; host.batch_size];
        for draw in 0..self.n_draws {
            let (mut hidden, mut times) = (Vec::new(), Vec::new());
            for rng in &mut streams {
                let time = time_sampler::stratified(draw, self.n_draws, rng);
                hidden.extend(draw_hidden(host.seq_len, time, rng));
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
fn row_sums(nll: Tensor<2>) -> Result<Vec<f64>, EvalError> {
    let width = nll.dims()[1];
    let values = nll
        .try_into_vec_as::<f32>()
        .map_err(|error| EvalError::Device {
            reason: error.to_string(),
        })?;
    Ok(values
        .chunks(width)
        .map(|row| row.iter().map(|&x| x as f64).sum())
        .collect())
}
