use discrete_diffusion::distillation::HiddenSequence;
use discrete_diffusion::random_streams::{Stream, stream};
use discrete_diffusion::{NoiseTime, draw_hidden, time_sampler};
use pgm_data::TokenBatch;

use crate::Directions;

/// Times of a distillation stay above this.
const MIN_TIME: f64 = 1e-5;

/// A sequence as the student sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct StudentRow {
    /// What is hidden, and the time.
    pub sequence: HiddenSequence,
    /// Which of the hidden positions count in the loss, from the left; padding does not.
    pub counts: Vec<bool>,
}

/// Hides tokens of the sequences of an optimizer step, each with probability `1 - alpha(t)`; both directions give two
/// rows a sequence, the second with the other tokens hidden and time `1 - t`.
///
/// Rows without a hidden position are left out. Those that hide much come last, so that rows which go through the
/// network together hide about as much. The draw depends on the seed and the step alone.
pub fn hide(host: &TokenBatch, directions: Directions, seed: u64, step: u64) -> Vec<StudentRow> {
    let mut rng = stream(seed, Stream::Corruption, step);
    let times = time_sampler::evenly_spaced(host.batch_size, MIN_TIME, &mut rng);
    let first_index = step * 2 * host.batch_size as u64;
    let tokens = host.tokens.chunks(host.seq_len);
    let valid = host.valid.chunks(host.seq_len);
    let mut rows = Vec::new();
    for (index, ((tokens, valid), time)) in (0..).zip(tokens.zip(valid).zip(times)) {
        let hidden = draw_hidden(host.seq_len, time, &mut rng);
        let index = first_index + 2 * index;
        rows.push(row(tokens, valid, &hidden, time, index));
        if directions == Directions::Both {
            let others: Vec<bool> = hidden.iter().map(|hidden| !hidden).collect();
            rows.push(row(tokens, valid, &others, time.flipped(), index + 1));
        }
    }
    rows.retain(|row| !row.counts.is_empty());
    rows.sort_by_key(|row| row.counts.len());
    rows
}

fn row(tokens: &[u32], valid: &[bool], hidden: &[bool], time: NoiseTime, index: u64) -> StudentRow {
    let known = |(&token, &hidden): (&u32, &bool)| (!hidden).then_some(token);
    let valid = valid.iter().zip(hidden);
    StudentRow {
        sequence: HiddenSequence {
            tokens: tokens.iter().zip(hidden).map(known).collect(),
            time: time.t,
            index,
        },
        counts: valid
            .filter_map(|(&valid, &hidden)| hidden.then_some(valid))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> TokenBatch {
        TokenBatch {
            tokens: (0..40).collect(),
            valid: (0..40).map(|i| i % 10 != 9).collect(),
            batch_size: 4,
            seq_len: 10,
        }
    }

    #[test]
    fn both_directions_hide_every_token_once() {
        let rows = hide(&batch(), Directions::Both, 3, 7);
        let hidden: usize = rows.iter().map(|row| row.counts.len()).sum();
        assert_eq!(hidden, 40);
        let counted = rows.iter().flat_map(|row| &row.counts);
        assert_eq!(counted.filter(|&&counts| counts).count(), 36);
        for pair in rows.windows(2) {
            assert!(pair[0].counts.len() <= pair[1].counts.len());
        }
        let times = |index: u64| {
            let found = rows.iter().find(|row| row.sequence.index == index);
            found.map(|row| row.sequence.time)
        };
        for first in (0..4).map(|i| 7 * 8 + 2 * i) {
            if let (Some(t), Some(rest)) = (times(first), times(first + 1)) {
                assert!((t + rest - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn one_direction_is_the_first_of_both() {
        let both = hide(&batch(), Directions::Hidden, 3, 7);
        let one: Vec<StudentRow> = hide(&batch(), Directions::Both, 3, 7)
            .into_iter()
            .filter(|row| row.sequence.index % 2 == 0)
            .collect();
        assert_eq!(one, both);
    }
}
