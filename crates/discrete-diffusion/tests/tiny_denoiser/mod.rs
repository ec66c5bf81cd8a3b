//! A language of 3 tokens and 4 positions that is small enough to enumerate.

use std::cell::Cell;
use std::sync::LazyLock;

use burn::tensor::{Int, Tensor, TensorData};
use discrete_diffusion::{
    CausalDenoiser, KnownTokens, PartitionDenoiser, PartitionLogits, QueryPositions,
    SequenceDenoiser,
};

/// Ordinary tokens.
pub const N_TOKENS: usize = 3;
/// The id of MASK, behind the ordinary ones.
pub const MASK: usize = 3;
pub const VOCAB_SIZE: usize = 4;
pub const SEQ_LEN: usize = 4;

/// What is known of a sequence.
pub type Known = [Option<usize>; SEQ_LEN];

/// Predicts a position from which positions are known and from their tokens. The conditionals
/// belong to no joint distribution, so that the order in which positions are revealed matters.
///
/// Rows that nothing may depend on (visible tokens of an MDLM, what follows the last token) get
/// logits that would show, and the logit of MASK is the largest everywhere.
#[derive(Debug, Default)]
pub struct TinyDenoiser {
    /// How often the network ran.
    pub n_evaluations: Cell<usize>,
    /// Over how many sequences, all runs together.
    pub n_sequences: Cell<usize>,
}

/// A logit that makes its token certain.
const CERTAIN: f32 = 80.0;

/// Logits of the ordinary tokens at a position.
pub fn logits(known: &Known, position: usize) -> [f64; N_TOKENS] {
    std::array::from_fn(|token| {
        let others = (0..SEQ_LEN)
            .filter(|&other| other != position)
            .filter_map(|other| known[other].map(|value| (other, value)));
        let sum: f64 = others
            .map(|(other, value)| wave(1 + position + 5 * other + 25 * value, token))
            .sum();
        0.8 * wave(200 + position, token) + 0.7 * sum
    })
}

/// The distribution of the token at a position, at a temperature.
pub fn probabilities(known: &Known, position: usize, temperature: f64) -> [f64; N_TOKENS] {
    let weights = logits(known, position).map(|logit| (logit / temperature).exp());
    let total: f64 = weights.iter().sum();
    weights.map(|weight| weight / total)
}

/// A number in `+-1` without a pattern.
fn wave(a: usize, b: usize) -> f64 {
    (12.9898 * a as f64 + 78.233 * b as f64).sin()
}

/// The network's output, computed once for everything that can be known.
fn row(known: &Known, position: usize) -> [f32; VOCAB_SIZE] {
    static ROWS: LazyLock<Vec<[f32; VOCAB_SIZE]>> = LazyLock::new(|| {
        let digit = |index: usize, i: usize| index / VOCAB_SIZE.pow(i as u32) % VOCAB_SIZE;
        (0..VOCAB_SIZE.pow(SEQ_LEN as u32) * SEQ_LEN)
            .map(|index| {
                let known = std::array::from_fn(|i| match digit(index, i) {
                    MASK => None,
                    token => Some(token),
                });
                let [a, b, c] = logits(&known, digit(index, SEQ_LEN)).map(|logit| logit as f32);
                [a, b, c, CERTAIN]
            })
            .collect()
    });
    let index = known.iter().rev().fold(position, |index, token| {
        index * VOCAB_SIZE + token.unwrap_or(MASK)
    });
    ROWS[index]
}

/// Of rows that must not be used.
const UNUSED: [f32; VOCAB_SIZE] = [CERTAIN, 0.0, 0.0, 0.0];

impl TinyDenoiser {
    fn count(&self, n_sequences: usize) {
        self.n_evaluations.set(self.n_evaluations.get() + 1);
        self.n_sequences.set(self.n_sequences.get() + n_sequences);
    }
}

impl SequenceDenoiser for TinyDenoiser {
    fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let shape = tokens.dims();
        self.count(shape[0]);
        let rows = read(&tokens).into_iter().flat_map(|tokens| {
            let known = tokens_where(&tokens, |position| tokens[position] != MASK);
            (0..tokens.len())
                .map(|position| match known[position] {
                    None => row(&known, position),
                    Some(_) => UNUSED,
                })
                .collect::<Vec<_>>()
        });
        tensor(rows, shape, &tokens)
    }
}

impl PartitionDenoiser for TinyDenoiser {
    /// In the order of group 0, then group 1, each from the last position to the first.
    fn partition_logits(&self, tokens: Tensor<2, Int>, groups: Tensor<2, Int>) -> PartitionLogits {
        let shape = tokens.dims();
        self.count(shape[0]);
        let mut order = Vec::new();
        let mut rows = Vec::new();
        for (row_tokens, row_groups) in read(&tokens).iter().zip(read(&groups)) {
            for group in [0, 1] {
                let known = tokens_where(row_tokens, |position| row_groups[position] != group);
                for position in (0..SEQ_LEN).rev().filter(|&i| row_groups[i] == group) {
                    order.push(position as i64);
                    rows.push(row(&known, position));
                }
            }
        }
        PartitionLogits {
            logits: tensor(rows.into_iter(), shape, &tokens),
            order: Tensor::from_data(TensorData::new(order, shape), &tokens.device()),
        }
    }

    /// The logits: there is no projection.
    fn known_features(&self, known: KnownTokens, queries: QueryPositions) -> Tensor<3> {
        let shape = queries.positions.dims();
        self.count(shape[0]);
        let mut rows = Vec::new();
        let tokens = read(&known.tokens);
        let positions = read(&known.positions);
        for (i, positions_of_row) in read(&queries.positions).iter().enumerate() {
            let mut row_known = [None; SEQ_LEN];
            for j in 0..known.lengths[i] {
                row_known[positions[i][j]] = Some(tokens[i][j]);
            }
            let (asked, padding) = positions_of_row.split_at(queries.lengths[i]);
            for &position in asked {
                assert_eq!(
                    row_known[position], None,
                    "position {position} is known already"
                );
                rows.push(row(&row_known, position));
            }
            rows.extend(padding.iter().map(|_| UNUSED));
        }
        tensor(rows.into_iter(), shape, &known.tokens)
    }
}

impl CausalDenoiser for TinyDenoiser {
    /// The tokens read so far.
    type Cache = Vec<Vec<usize>>;

    fn next_logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let shape = tokens.dims();
        self.count(shape[0]);
        let rows = read(&tokens).into_iter().flat_map(|tokens| {
            (1..=tokens.len())
                .map(|position| match position {
                    SEQ_LEN => UNUSED,
                    _ => row(&tokens_where(&tokens, |i| i < position), position),
                })
                .collect::<Vec<_>>()
        });
        tensor(rows, shape, &tokens)
    }

    fn next_logits_cached(&self, tokens: Tensor<2, Int>, cache: &mut Self::Cache) -> Tensor<2> {
        self.count(tokens.dims()[0]);
        let new = read(&tokens);
        cache.resize(new.len(), Vec::new());
        for (read, new) in cache.iter_mut().zip(new) {
            read.extend(new);
        }
        let rows = cache.iter().map(|tokens| match tokens.len() {
            SEQ_LEN => UNUSED,
            position => row(&tokens_where(tokens, |i| i < position), position),
        });
        tensor(rows, [cache.len(), 1], &tokens).squeeze_dim(1)
    }
}

fn tokens_where(tokens: &[usize], is_known: impl Fn(usize) -> bool) -> Known {
    std::array::from_fn(|position| {
        let token = tokens.get(position).copied();
        token.filter(|_| is_known(position))
    })
}

fn read(tokens: &Tensor<2, Int>) -> Vec<Vec<usize>> {
    let width = tokens.dims()[1];
    let values: Vec<i64> = tokens.clone().try_into_vec_as().expect("integers");
    values
        .chunks(width)
        .map(|row| row.iter().map(|&x| x as usize).collect())
        .collect()
}

fn tensor(
    rows: impl Iterator<Item = [f32; VOCAB_SIZE]>,
    [batch, seq_len]: [usize; 2],
    like: &Tensor<2, Int>,
) -> Tensor<3> {
    let values: Vec<f32> = rows.flatten().collect();
    Tensor::from_data(
        TensorData::new(values, [batch, seq_len, VOCAB_SIZE]),
        &like.device(),
    )
}
