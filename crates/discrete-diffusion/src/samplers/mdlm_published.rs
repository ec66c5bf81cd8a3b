use std::ops::ControlFlow;

use rand::RngExt;

use super::progress::Listener;
use super::request::at_least;
use super::row::Row;
use super::schedule::times;
use super::transfer::read;
use super::{MaskedPredictor, SampleError, SampleRequest, Samples, SamplingProgress};
use crate::SequenceDenoiser;

/// Ancestral sampling of an MDLM as published, at its full cost: in every step each position draws from
///
/// ```text
/// q(x_s | x_t) = ((t - s) p(x_0 | x_t) + s [MASK]) / t
/// ```
///
/// by adding Gumbel noise to the logarithms of all `[batch, seq, vocab_size]` probabilities, in
/// float64. Visible positions draw too, and stay what they are. A last run of the network draws
/// what is left.
///
/// The law is that of [`DiffusionSampler`](super::DiffusionSampler) with
/// [`RevealSchedule::Binomial`](super::RevealSchedule::Binomial), which draws one number a revealed
/// token instead.
///
/// # Reference
/// MDLM (arXiv 2406.07524), section 3; float64: arXiv 2409.02908.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MdlmPublished {
    /// Steps from time 1 to time 1e-5.
    pub n_steps: usize,
    /// When the network runs.
    pub prediction_use: PredictionUse,
}

/// For how long a prediction of the network is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionUse {
    /// One step: `n_steps` runs, and one more where something is left in the end.
    OneStep,
    /// Until a sequence of the batch changes (`ddpm_cache`): one run for the first step, for every
    /// step behind one that revealed something, and for what is left in the end.
    UntilChanged,
}

impl MdlmPublished {
    /// Draws sequences; `progress` hears of the start and of every step, out of `n_steps + 1`, and stops the work
    /// by breaking.
    ///
    /// # Errors
    /// When the request or a setting cannot be used, or the network's output cannot, or the work is stopped.
    pub fn sample(
        &self,
        predictor: &MaskedPredictor<impl SequenceDenoiser>,
        request: &SampleRequest,
        progress: &mut dyn FnMut(SamplingProgress) -> ControlFlow<()>,
    ) -> Result<Samples, SampleError> {
        request.check()?;
        at_least("n_steps", self.n_steps, 1)?;
        let mut rows = Row::from_request(request);
        let mut network_evaluations = 0;
        let mut prediction = None;
        let mut listener = Listener::new(progress);
        listener.hear(0, self.n_steps + 1, &rows)?;
        let last = std::iter::once((1.0, 0.0));
        for (i, (t, s)) in times(self.n_steps).chain(last).enumerate() {
            let is_hidden = |row: &Row| row.tokens.contains(&None);
            if rows.iter().any(is_hidden) {
                let current = match prediction.take().filter(|_| i < self.n_steps) {
                    Some(prediction) => prediction,
                    None => {
                        network_evaluations += 1;
                        predict(predictor, request, &rows)?
                    }
                };
                let mut is_changed = false;
                for (row, prediction) in rows.iter_mut().zip(&current) {
                    is_changed |= step(row, prediction, s / t);
                }
                if self.prediction_use == PredictionUse::UntilChanged && !is_changed {
                    prediction = Some(current);
                }
            }
            listener.hear(i + 1, self.n_steps + 1, &rows)?;
        }
        Ok(Samples {
            sequences: rows.into_iter().map(Row::into_tokens).collect(),
            network_evaluations,
        })
    }
}

/// For each sequence and position, the distribution of the token; MASK has probability 0.
type Prediction = Vec<Vec<Vec<f64>>>;

fn predict(
    predictor: &MaskedPredictor<impl SequenceDenoiser>,
    request: &SampleRequest,
    rows: &[Row],
) -> Result<Prediction, SampleError> {
    let sequences: Vec<&[Option<u32>]> = rows.iter().map(|row| row.tokens.as_slice()).collect();
    let logits = predictor.all_logits(&sequences, request.device);
    let [_, seq_len, vocab_size] = logits.dims();
    let logits = read(logits)?;
    let sampler = request.tokens.excluding(predictor.mask_token as usize);
    let distributions = |row: &[f32]| {
        row.chunks_exact(vocab_size)
            .map(|logits| sampler.probabilities(logits))
            .collect::<Result<Vec<_>, _>>()
    };
    let rows = logits.chunks_exact(seq_len * vocab_size).map(distributions);
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One step of a sequence; whether it changed.
fn step(row: &mut Row, prediction: &[Vec<f64>], stays_hidden: f64) -> bool {
    let mut is_changed = false;
    for (position, probabilities) in prediction.iter().enumerate() {
        let drawn = draw(row, probabilities, stays_hidden);
        if row.tokens[position].is_none() && drawn.is_some() {
            row.tokens[position] = drawn;
            is_changed = true;
        }
    }
    is_changed
}

/// The outcome with the largest noisy logarithm; `None` is MASK.
fn draw(row: &mut Row, probabilities: &[f64], stays_hidden: f64) -> Option<u32> {
    let mut noisy = |p: f64| {
        // In (0, 1), so that both logarithms are finite.
        let uniform = row.token_rng.random::<f64>().max(f64::MIN_POSITIVE);
        p.ln() - (-uniform.ln()).ln()
    };
    let (mut best, mut largest) = (None, noisy(stays_hidden));
    for (token, &p) in probabilities.iter().enumerate() {
        let value = noisy(p * (1.0 - stays_hidden));
        if value > largest {
            (best, largest) = (Some(token as u32), value);
        }
    }
    best
}
