//! Small networks with random weights, their inputs and their logits.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pgm_model::{
    CausalDit, CausalDitConfig, Dit, DitConfig, KnownTokens, PartitionTransformer,
    PartitionTransformerConfig, PreQuery, QueryPositions, QueryProcessorKind,
};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const VOCAB_SIZE: usize = 11;
pub const MASK: usize = 10;
pub const SEQ_LEN: usize = 9;
/// Two orders of summation differ by 1e-6 in these networks.
pub const TOLERANCE: f32 = 1e-5;
/// What counts as a change of a logit: far above rounding.
pub const CHANGE: f32 = 1e-4;

pub const PRE_QUERIES: [PreQuery; 4] = [
    PreQuery::Learned,
    PreQuery::Sinusoid,
    PreQuery::SinusoidMean,
    PreQuery::SinusoidLogSumExp,
];

/// One of each kind of GroupSwap, with its name.
pub fn partition_transformers() -> impl Iterator<Item = (PartitionTransformer, String)> {
    PRE_QUERIES.into_iter().flat_map(|pre_query| {
        [QueryProcessorKind::Linear, QueryProcessorKind::Mlp4].map(|kind| {
            (
                partition_transformer(pre_query, kind),
                format!("{pre_query:?} {kind:?}"),
            )
        })
    })
}

pub fn partition_transformer(
    pre_query: PreQuery,
    kind: QueryProcessorKind,
) -> PartitionTransformer {
    randomised(partition_config(pre_query, kind).init(&Device::flex()))
}

pub fn partition_config(
    pre_query: PreQuery,
    query_processor: QueryProcessorKind,
) -> PartitionTransformerConfig {
    PartitionTransformerConfig {
        vocab_size: VOCAB_SIZE,
        d_model: 16,
        n_heads: 2,
        n_encoder_blocks: 2,
        n_decoder_blocks: 2,
        cond_dim: 8,
        mlp_ratio: 2,
        dropout: 0.1,
        pre_query,
        query_processor,
    }
}

pub fn dit() -> Dit {
    randomised(dit_config().init(&Device::flex()))
}

pub fn dit_config() -> DitConfig {
    DitConfig {
        vocab_size: VOCAB_SIZE,
        d_model: 16,
        n_heads: 2,
        n_blocks: 2,
        cond_dim: 8,
        mlp_ratio: 2,
        dropout: 0.1,
    }
}

pub fn causal_dit() -> CausalDit {
    randomised(causal_config().init(&Device::flex()))
}

pub fn causal_config() -> CausalDitConfig {
    CausalDitConfig {
        vocab_size: VOCAB_SIZE,
        d_model: 16,
        n_heads: 2,
        n_blocks: 2,
        mlp_ratio: 2,
        dropout: 0.1,
    }
}

/// Replaces all weights, so that layers that start at zero do something.
pub fn randomised<M: Module>(model: M) -> M {
    struct Randomise(ChaCha8Rng);
    impl ModuleMapper for Randomise {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| {
                let shape = tensor.shape();
                let values: Vec<f32> = (0..shape.num_elements())
                    .map(|_| self.0.random_range(-0.6..0.6))
                    .collect();
                Tensor::from_data(TensorData::new(values, shape), &tensor.device())
            })
        }
    }
    model.map(&mut Randomise(ChaCha8Rng::seed_from_u64(0)))
}

/// Logits of one sequence by position.
pub fn partition_logits(
    model: &PartitionTransformer,
    tokens: &[usize],
    groups: &[usize],
) -> Vec<Vec<f32>> {
    let sigma = Tensor::zeros([1], &Device::flex());
    rows(model.forward(
        int_tensor(&[tokens.to_vec()]),
        int_tensor(&[groups.to_vec()]),
        sigma,
    ))
}

/// Logits of some positions of one sequence from the tokens at others.
pub fn known_logits(
    model: &PartitionTransformer,
    tokens: &[usize],
    known: &[usize],
    queries: &[usize],
) -> Vec<Vec<f32>> {
    let known_tokens: Vec<usize> = known.iter().map(|&position| tokens[position]).collect();
    rows(model.forward_known(
        KnownTokens {
            tokens: int_tensor(&[known_tokens]),
            positions: int_tensor(&[known.to_vec()]),
            lengths: vec![known.len()],
        },
        QueryPositions {
            positions: int_tensor(&[queries.to_vec()]),
            lengths: vec![queries.len()],
        },
        Tensor::zeros([1], &Device::flex()),
    ))
}

pub fn dit_logits(model: &Dit, batch: &[Vec<usize>]) -> Vec<Vec<f32>> {
    rows(model.forward(int_tensor(batch), Tensor::zeros([1], &Device::flex())))
}

pub fn causal_logits(model: &CausalDit, batch: &[Vec<usize>]) -> Vec<Vec<f32>> {
    rows(model.forward(int_tensor(batch)))
}

/// Ordinary tokens.
pub fn random_tokens(seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
    (0..SEQ_LEN).map(|_| rng.random_range(0..MASK)).collect()
}

/// Both groups have members.
pub fn random_groups(seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(200 + seed);
    let n_second = rng.random_range(2..SEQ_LEN - 1);
    let mut groups: Vec<usize> = (0..SEQ_LEN).map(|i| (i < n_second) as usize).collect();
    groups.shuffle(&mut rng);
    groups
}

/// Known positions and the others, both in random order.
pub fn random_split(n_known: usize, rng: &mut ChaCha8Rng) -> (Vec<usize>, Vec<usize>) {
    let mut positions: Vec<usize> = (0..SEQ_LEN).collect();
    positions.shuffle(rng);
    let queries = positions.split_off(n_known);
    (positions, queries)
}

pub fn with_another_token(tokens: &[usize], position: usize) -> Vec<usize> {
    let mut tokens = tokens.to_vec();
    tokens[position] = (tokens[position] + 1) % MASK;
    tokens
}

pub fn int_tensor(rows: &[Vec<usize>]) -> Tensor<2, Int> {
    let values: Vec<i64> = rows.iter().flatten().map(|&x| x as i64).collect();
    Tensor::from_data(
        TensorData::new(values, [rows.len(), rows[0].len()]),
        &Device::flex(),
    )
}

pub fn host_ints(tensor: Tensor<2, Int>) -> Vec<Vec<usize>> {
    let width = tensor.dims()[1];
    let values: Vec<i64> = tensor.try_into_vec_as().expect("integers");
    values
        .chunks(width)
        .map(|row| row.iter().map(|&x| x as usize).collect())
        .collect()
}

/// One vector of logits a position, sequence by sequence.
pub fn rows(logits: Tensor<3>) -> Vec<Vec<f32>> {
    let values: Vec<f32> = logits.try_into_vec_as().expect("floats");
    values.chunks(VOCAB_SIZE).map(<[f32]>::to_vec).collect()
}

pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |max, x| if x.is_nan() || x > max { x } else { max })
}
