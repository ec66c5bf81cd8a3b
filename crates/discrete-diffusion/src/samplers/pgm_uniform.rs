use super::revealing::{Revealing, int_rows};
use super::{SampleError, SampleRequest, Samples};
use crate::{KnownTokens, PartitionDenoiser, QueryPositions};

/// PGM sampling that reveals the same number of positions in every step, in random order, and
/// processes known tokens only.
///
/// # Reference
/// PGM (arXiv 2505.18883), section 4, "uniform" sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgmUniform {
    /// Steps; those that would reveal nothing are skipped.
    pub n_steps: usize,
}

impl PgmUniform {
    /// Draws sequences; `progress` hears of every step done, out of `n_steps`.
    ///
    /// # Errors
    /// When a size is 0, or the network's output cannot be used.
    pub fn sample(
        &self,
        denoiser: &impl PartitionDenoiser,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Samples, SampleError> {
        request.check(self.n_steps)?;
        let mut rows = Revealing::new(request, request.bos_token);
        let orders: Vec<Vec<usize>> = rows
            .sequences
            .iter_mut()
            .map(|row| row.shuffled_hidden())
            .collect();
        // Position 0 is known from the start, then the order in which positions are revealed.
        let known: Vec<Vec<usize>> = orders
            .iter()
            .map(|order| std::iter::once(0).chain(order.iter().copied()).collect())
            .collect();

        let mut network_evaluations = 0;
        let mut n_known = 1;
        for (i, count) in reveal_counts(request.seq_len, self.n_steps)
            .into_iter()
            .enumerate()
        {
            if count > 0 {
                let positions: Vec<Vec<usize>> = known
                    .iter()
                    .map(|known| known[n_known..n_known + count].to_vec())
                    .collect();
                let logits = denoiser.known_logits(
                    known_tokens(&rows, &known, n_known, request),
                    QueryPositions {
                        positions: int_rows(positions.iter().map(|p| p.iter()), request.device),
                        lengths: vec![count; request.n_sequences],
                    },
                );
                network_evaluations += 1;
                let vocab_size = logits.dims()[2];
                let logits = logits.reshape([request.n_sequences * count, vocab_size]);
                rows.reveal(request, &positions, logits)?;
                n_known += count;
            }
            progress(i + 1, self.n_steps);
        }
        Ok(Samples {
            sequences: rows.into_tokens(),
            network_evaluations,
        })
    }
}

fn known_tokens(
    rows: &Revealing,
    known: &[Vec<usize>],
    n_known: usize,
    request: &SampleRequest,
) -> KnownTokens {
    let tokens: Vec<Vec<u32>> = rows
        .sequences
        .iter()
        .zip(known)
        .map(|(row, known)| known[..n_known].iter().map(|&at| row.tokens[at]).collect())
        .collect();
    KnownTokens {
        tokens: int_rows(tokens.iter().map(|row| row.iter()), request.device),
        positions: int_rows(
            known.iter().map(|row| row[..n_known].iter()),
            request.device,
        ),
        lengths: vec![n_known; request.n_sequences],
    }
}

/// How many of the positions 1 to `seq_len - 1` each step reveals.
///
/// Where `n_steps` divides `seq_len` these are the published counts, `seq_len / n_steps` each and
/// one less in the last step; otherwise step `i` takes
/// `floor((i + 1)(seq_len - 1) / n_steps) - floor(i (seq_len - 1) / n_steps)`.
pub fn reveal_counts(seq_len: usize, n_steps: usize) -> Vec<usize> {
    if seq_len.is_multiple_of(n_steps) {
        let mut counts = vec![seq_len / n_steps; n_steps];
        counts[n_steps - 1] -= 1;
        return counts;
    }
    let hidden = seq_len - 1;
    (0..n_steps)
        .map(|i| (i + 1) * hidden / n_steps - i * hidden / n_steps)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_published_ones_where_the_steps_divide_the_length() {
        assert_eq!(reveal_counts(8, 4), [2, 2, 2, 1]);
        assert_eq!(reveal_counts(8, 8), [1, 1, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn counts_add_up_for_any_number_of_steps() {
        for seq_len in 2..40 {
            for n_steps in 1..60 {
                let counts = reveal_counts(seq_len, n_steps);
                assert_eq!(counts.len(), n_steps);
                assert_eq!(counts.iter().sum::<usize>(), seq_len - 1);
            }
        }
        // 9 positions in 4 steps: floors of 0, 2.25, 4.5, 6.75, 9.
        assert_eq!(reveal_counts(10, 4), [2, 2, 2, 3]);
    }
}
