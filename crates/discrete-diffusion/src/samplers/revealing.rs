use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::{SampleError, SampleRequest};
use crate::NoiseSchedule;
use crate::random_streams::{Stream, stream};

/// The last time of a sampler; what is still hidden then is revealed in a last step.
const LAST_TIME: f64 = 1e-5;

/// Sequences that are being revealed, with one random stream each.
pub(super) struct Revealing {
    pub sequences: Vec<Row>,
}

/// A sequence on its way.
pub(super) struct Row {
    /// One token a position; only those of revealed positions mean anything.
    pub tokens: Vec<u32>,
    pub is_known: Vec<bool>,
    /// The uniform number that decides the token of each position.
    uniforms: Vec<f64>,
    pub rng: ChaCha8Rng,
}

impl Revealing {
    /// All hidden but the first position.
    pub fn new(request: &SampleRequest, hidden_token: u32) -> Self {
        let row = |i| {
            let index = request.first_sequence + i as u64;
            let mut tokens = vec![hidden_token; request.seq_len];
            let mut is_known = vec![false; request.seq_len];
            tokens[0] = request.bos_token;
            is_known[0] = true;
            let mut token_rng = stream(request.seed, Stream::Tokens, index);
            Row {
                tokens,
                is_known,
                uniforms: (0..request.seq_len).map(|_| token_rng.random()).collect(),
                rng: stream(request.seed, Stream::Reveal, index),
            }
        };
        Self {
            sequences: (0..request.n_sequences).map(row).collect(),
        }
    }

    /// For each sequence, the hidden positions that are revealed between the times `t` and `s`;
    /// all of them when `s` is `None`.
    pub fn positions_to_reveal(&mut self, t: f64, s: Option<f64>) -> Vec<Vec<usize>> {
        let probability = s.map_or(1.0, |s| NoiseSchedule::default().reveal_probability(t, s));
        self.sequences
            .iter_mut()
            .map(|row| row.draw_hidden(probability))
            .collect()
    }

    /// Draws the tokens of some positions; `logits` has one row for each, sequence by sequence.
    pub fn reveal(
        &mut self,
        request: &SampleRequest,
        positions: &[Vec<usize>],
        logits: Tensor<2>,
    ) -> Result<(), SampleError> {
        let vocab_size = logits.dims()[1];
        let logits = read(logits)?;
        let mut rows = logits.chunks_exact(vocab_size);
        for (row, positions) in self.sequences.iter_mut().zip(positions) {
            for &position in positions {
                let logits = rows.next().expect("one row of logits a position");
                row.tokens[position] = request.tokens.draw(logits, row.uniforms[position])?;
                row.is_known[position] = true;
            }
        }
        Ok(())
    }

    /// # Shapes
    /// - output: `[batch, seq]`
    pub fn tokens(&self, device: &Device) -> Tensor<2, Int> {
        int_rows(self.sequences.iter().map(|row| row.tokens.iter()), device)
    }

    pub fn into_tokens(self) -> Vec<Vec<u32>> {
        self.sequences.into_iter().map(|row| row.tokens).collect()
    }
}

impl Row {
    /// Each hidden position with a probability. One number is drawn a hidden position, in order,
    /// so that the stream depends on this sequence alone.
    fn draw_hidden(&mut self, probability: f64) -> Vec<usize> {
        let hidden: Vec<usize> = (0..self.is_known.len())
            .filter(|&position| !self.is_known[position])
            .collect();
        hidden
            .into_iter()
            .filter(|_| self.rng.random::<f64>() < probability)
            .collect()
    }

    /// The hidden positions in random order.
    pub fn shuffled_hidden(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.is_known.len())
            .filter(|&position| !self.is_known[position])
            .collect();
        shuffle(&mut order, &mut self.rng);
        order
    }
}

/// Fisher-Yates, written out so that the order never changes with a library's version.
fn shuffle(items: &mut [usize], rng: &mut impl Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

/// The times of `n_steps` steps from 1 to 1e-5, evenly; the last step (`None`) reveals the rest.
pub(super) fn steps(n_steps: usize) -> impl Iterator<Item = (f64, Option<f64>)> {
    let time = move |i: usize| 1.0 - (1.0 - LAST_TIME) * i as f64 / n_steps as f64;
    (0..n_steps)
        .map(move |i| (time(i), Some(time(i + 1))))
        .chain(std::iter::once((LAST_TIME, None)))
}

/// Rows of equal length as a tensor.
pub(super) fn int_rows<'a, I, T>(rows: impl Iterator<Item = I>, device: &Device) -> Tensor<2, Int>
where
    I: Iterator<Item = &'a T>,
    T: Copy + TryInto<i64> + 'a,
{
    let mut values = Vec::new();
    let mut n_rows = 0;
    for row in rows {
        n_rows += 1;
        values.extend(row.map(|&x| x.try_into().ok().expect("ids and positions fit an i64")));
    }
    let width = values.len() / n_rows;
    Tensor::from_data(TensorData::new(values, [n_rows, width]), device)
}

/// Picks `[rows, vocab_size]` out of `[batch, seq, vocab_size]`: for each sequence the given
/// places on the second axis.
pub(super) fn select_rows(logits: Tensor<3>, places: &[Vec<usize>]) -> Tensor<2> {
    let [batch, seq_len, vocab_size] = logits.dims();
    let indices: Vec<i64> = places
        .iter()
        .enumerate()
        .flat_map(|(row, places)| places.iter().map(move |&at| (row * seq_len + at) as i64))
        .collect();
    let n = indices.len();
    let indices = Tensor::from_data(TensorData::new(indices, [n]), &logits.device());
    logits
        .reshape([batch * seq_len, vocab_size])
        .select(0, indices)
}

/// Brings logits to the host.
pub(super) fn read(logits: Tensor<2>) -> Result<Vec<f32>, SampleError> {
    logits
        .try_into_vec_as::<f32>()
        .map_err(|error| SampleError::Device {
            reason: error.to_string(),
        })
}
