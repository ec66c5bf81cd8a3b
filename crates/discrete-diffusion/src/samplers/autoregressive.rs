use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};

use super::progress::Listener;
use super::row::Row;
use super::transfer::{padded, read};
use super::{SampleError, SampleRequest, Samples, SamplingProgress};
use crate::CausalDenoiser;

/// Draws tokens one after the other, from the left; each is processed once.
///
/// A context is a prompt: known tokens to the right of an unknown one are refused. Prompts may
/// differ in length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AutoregressiveSampler {
    /// Ends a sequence once drawn: what would follow is not drawn, and the sequence ends there. The
    /// work ends with the last sequence.
    pub eos_token: Option<u32>,
}

impl AutoregressiveSampler {
    /// Draws sequences; `progress` hears of the start and of every position, out of those behind the shortest
    /// prompt, and stops the work by breaking.
    ///
    /// The network runs once for every position at which something is drawn.
    ///
    /// # Errors
    /// When the request cannot be used, or the network's output cannot, or the work is stopped.
    pub fn sample<D: CausalDenoiser>(
        &self,
        denoiser: &D,
        request: &SampleRequest,
        progress: &mut dyn FnMut(SamplingProgress) -> ControlFlow<()>,
    ) -> Result<Samples, SampleError> {
        request.check()?;
        check_prompts(request)?;
        let mut rows = Row::from_request(request);
        let mut ends: Vec<Option<usize>> = vec![None; rows.len()];
        let seq_len = request.contexts[0].seq_len();
        let prompts = request.contexts.iter().map(|context| context.prefix_len());
        let start = prompts.min().unwrap_or(seq_len);
        let n_steps = seq_len - start;
        let mut listener = Listener::new(progress);
        listener.hear(0, n_steps, &rows)?;

        let mut cache = D::Cache::default();
        let mut n_read = 0;
        let mut network_evaluations = 0;
        for position in start..seq_len {
            let drawing: Vec<usize> = (0..rows.len())
                .filter(|&i| ends[i].is_none() && rows[i].tokens[position].is_none())
                .collect();
            if !drawing.is_empty() {
                let unread: Vec<Vec<i64>> = rows
                    .iter()
                    .map(|row| ids(&row.tokens[n_read..position]))
                    .collect();
                let logits =
                    denoiser.next_logits_cached(padded(&unread, request.device), &mut cache);
                n_read = position;
                network_evaluations += 1;
                let vocab_size = logits.dims()[1];
                let logits = read(pick(logits, &drawing))?;
                for (&i, logits) in drawing.iter().zip(logits.chunks_exact(vocab_size)) {
                    rows[i].reveal(&[(position, logits)], request.tokens)?;
                    if self.eos_token.is_some() && rows[i].tokens[position] == self.eos_token {
                        ends[i] = Some(position + 1);
                    }
                }
            }
            let is_done = |i: usize| ends[i].is_some() || !rows[i].tokens.contains(&None);
            if (0..rows.len()).all(is_done) {
                listener.hear(n_steps, n_steps, &rows)?;
                break;
            }
            listener.hear(position + 1 - start, n_steps, &rows)?;
        }
        let sequences = rows.iter().zip(ends).map(|(row, end)| {
            let tokens = &row.tokens[..end.unwrap_or(seq_len)];
            let known = |token: &Option<u32>| token.expect("everything before the end is drawn");
            tokens.iter().map(known).collect()
        });
        Ok(Samples {
            sequences: sequences.collect(),
            network_evaluations,
        })
    }
}

/// Tokens to read; behind the end of a sequence any will do.
fn ids(tokens: &[Option<u32>]) -> Vec<i64> {
    tokens.iter().map(|t| t.unwrap_or(0) as i64).collect()
}

/// Some rows of `[batch, vocab_size]`.
fn pick(logits: Tensor<2>, rows: &[usize]) -> Tensor<2> {
    if rows.len() == logits.dims()[0] {
        return logits;
    }
    let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let n = rows.len();
    let rows = Tensor::from_data(TensorData::new(rows, [n]), &logits.device());
    logits.select(0, rows)
}

fn check_prompts(request: &SampleRequest) -> Result<(), SampleError> {
    for (sequence, context) in request.contexts.iter().enumerate() {
        let unknown = context.prefix_len();
        if unknown == 0 {
            return Err(SampleError::NoStart { sequence });
        }
        if let Some(position) = context.tokens().iter().rposition(Option::is_some)
            && position > unknown
        {
            return Err(SampleError::NotAPrompt {
                sequence,
                position,
                unknown,
            });
        }
    }
    Ok(())
}
