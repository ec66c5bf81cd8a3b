//! What the logits of each network may depend on, on small networks with random weights.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use discrete_diffusion::objectives::{Autoregressive, Mdlm, Pgm};
use discrete_diffusion::{NoiseSchedule, NoiseTime, TokenBatch, Weighting};
use pgm_model::{
    CausalDit, CausalDitConfig, Dit, DitConfig, KnownTokens, PartitionTransformer,
    PartitionTransformerConfig, PreQuery, QueryPositions, QueryProcessorKind, SortedTokens,
};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VOCAB_SIZE: usize = 11;
const MASK: usize = 10;
const SEQ_LEN: usize = 9;
/// Two orders of summation differ by 1e-6 in these networks.
const TOLERANCE: f32 = 1e-5;
/// What counts as a change of a logit: far above rounding.
const CHANGE: f32 = 1e-4;

const PRE_QUERIES: [PreQuery; 4] = [
    PreQuery::Learned,
    PreQuery::Sinusoid,
    PreQuery::SinusoidMean,
    PreQuery::SinusoidLogSumExp,
];

#[test]
fn tokens_never_see_their_own_group() {
    for (model, what) in partition_transformers() {
        let (tokens, groups) = (random_tokens(1), random_groups(2));
        let before = partition_logits(&model, &tokens, &groups);
        for changed in 0..SEQ_LEN {
            let after = partition_logits(&model, &with_another_token(&tokens, changed), &groups);
            for position in (0..SEQ_LEN).filter(|&i| groups[i] == groups[changed]) {
                // Bit for bit: what is blocked has a weight of exactly 0.
                assert_eq!(
                    before[position], after[position],
                    "{what}: the logits of {position} moved with token {changed} of its own group"
                );
            }
        }
    }
}

#[test]
fn tokens_see_every_token_of_the_other_group() {
    for (model, what) in partition_transformers() {
        let (tokens, groups) = (random_tokens(1), random_groups(2));
        let before = partition_logits(&model, &tokens, &groups);
        for changed in 0..SEQ_LEN {
            let after = partition_logits(&model, &with_another_token(&tokens, changed), &groups);
            for position in (0..SEQ_LEN).filter(|&i| groups[i] != groups[changed]) {
                let difference = largest_difference(&before[position], &after[position]);
                assert!(
                    difference > CHANGE,
                    "{what}: the logits of {position} do not depend on token {changed}"
                );
            }
        }
    }
}

#[test]
fn an_empty_group_leaves_logits_that_depend_on_positions_alone() {
    for (model, what) in partition_transformers() {
        for group in [0, 1] {
            let groups = vec![group; SEQ_LEN];
            let one = partition_logits(&model, &random_tokens(1), &groups);
            let other = partition_logits(&model, &random_tokens(2), &groups);
            assert!(one.iter().flatten().all(|x| x.is_finite()), "{what}");
            assert_eq!(one, other, "{what}");
        }
    }
}

#[test]
fn sorted_logits_are_those_of_the_sequence() {
    let device = Device::flex();
    for (model, what) in partition_transformers() {
        let tokens = int_tensor(&[random_tokens(1), random_tokens(2)]);
        let groups = int_tensor(&[random_groups(3), random_groups(4)]);
        let sorted = SortedTokens::new(tokens.clone(), groups.clone());
        let order = host_ints(sorted.positions.clone());
        let sigma = Tensor::zeros([1], &device);
        let logits = rows(model.forward(tokens, groups, sigma.clone()));
        let sorted_logits = rows(model.forward_sorted(sorted, sigma));
        for (row, order) in order.iter().enumerate() {
            for (place, &position) in order.iter().enumerate() {
                assert_eq!(
                    logits[row * SEQ_LEN + position],
                    sorted_logits[row * SEQ_LEN + place],
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn known_tokens_predict_the_rest_as_group_0_predicts_group_1() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut largest = 0f32;
    for (model, what) in partition_transformers() {
        for n_known in [1, 4, SEQ_LEN - 1] {
            let tokens = random_tokens(n_known as u64);
            let (known, queries) = random_split(n_known, &mut rng);
            let mut groups = vec![1; SEQ_LEN];
            known.iter().for_each(|&position| groups[position] = 0);
            let expected = partition_logits(&model, &tokens, &groups);
            let logits = known_logits(&model, &tokens, &known, &queries);
            for (&position, logits) in queries.iter().zip(&logits) {
                let difference = largest_difference(logits, &expected[position]);
                largest = largest.max(difference);
                assert!(
                    difference < TOLERANCE,
                    "{what}: {n_known} known, off by {difference:e}"
                );
            }
        }
    }
    println!("largest difference {largest:.1e}");
}

/// Known tokens and queries are sets: their order in memory means nothing.
#[test]
fn the_order_of_known_tokens_and_queries_does_not_matter() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for (model, what) in partition_transformers() {
        let tokens = random_tokens(3);
        let (mut known, queries) = random_split(5, &mut rng);
        let before = known_logits(&model, &tokens, &known, &queries);
        known.rotate_left(2);
        let reversed: Vec<usize> = queries.iter().rev().copied().collect();
        let after = known_logits(&model, &tokens, &known, &reversed);
        for (before, after) in before.iter().zip(after.iter().rev()) {
            let difference = largest_difference(before, after);
            assert!(difference < TOLERANCE, "{what}: off by {difference:e}");
        }
    }
}

#[test]
fn padding_of_known_tokens_and_queries_does_not_matter() {
    let device = Device::flex();
    let (known, queries) = ([vec![4, 0, 7], vec![1, 2, 8, 3, 0]], [vec![2, 8], vec![6]]);
    for (model, what) in partition_transformers() {
        let tokens = [random_tokens(7), random_tokens(8)];
        let padded = |width: usize, padding: usize| {
            let pad = |row: &[usize], width: usize| {
                let mut row = row.to_vec();
                row.resize(width, padding);
                row
            };
            let known_tokens: Vec<Vec<usize>> = (0..2)
                .map(|row| {
                    pad(
                        &known[row]
                            .iter()
                            .map(|&i| tokens[row][i])
                            .collect::<Vec<_>>(),
                        width,
                    )
                })
                .collect();
            let known_positions: Vec<Vec<usize>> =
                known.iter().map(|row| pad(row, width)).collect();
            let query_positions: Vec<Vec<usize>> = queries.iter().map(|row| pad(row, 3)).collect();
            let logits = model.forward_known(
                KnownTokens {
                    tokens: int_tensor(&known_tokens),
                    positions: int_tensor(&known_positions),
                    lengths: known.iter().map(Vec::len).collect(),
                },
                QueryPositions {
                    positions: int_tensor(&query_positions),
                    lengths: queries.iter().map(Vec::len).collect(),
                },
                Tensor::zeros([1], &device),
            );
            rows(logits)
        };
        let logits = [padded(5, 0), padded(5, 6), padded(8, 9)];
        for row in 0..2 {
            let alone = known_logits(&model, &tokens[row], &known[row], &queries[row]);
            for (query, expected) in alone.iter().enumerate() {
                for logits in &logits {
                    let difference = largest_difference(&logits[row * 3 + query], expected);
                    assert!(difference < TOLERANCE, "{what}: off by {difference:e}");
                }
            }
        }
    }
}

/// Rotary angles enter scores by their differences; only the sinusoid of GroupSwap is absolute.
#[test]
fn without_the_sinusoid_only_distances_between_positions_matter() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for (pre_query, is_invariant) in [(PreQuery::Learned, true), (PreQuery::Sinusoid, false)] {
        let model = partition_transformer(pre_query, QueryProcessorKind::Linear);
        let mut tokens = random_tokens(3);
        let (known, queries) = random_split(5, &mut rng);
        let before = known_logits(&model, &tokens, &known, &queries);
        let shift = |positions: &[usize]| positions.iter().map(|i| i + 40).collect::<Vec<_>>();
        tokens.splice(0..0, vec![0; 40]);
        let after = known_logits(&model, &tokens, &shift(&known), &shift(&queries));
        let difference = largest_difference(&before.concat(), &after.concat());
        assert_eq!(
            difference < TOLERANCE,
            is_invariant,
            "{pre_query:?}: {difference:e}"
        );
    }
}

#[test]
fn dit_reads_all_tokens_and_tells_their_positions_apart() {
    let model = dit();
    let tokens = random_tokens(1);
    let before = dit_logits(&model, std::slice::from_ref(&tokens));
    for changed in 0..SEQ_LEN {
        let after = dit_logits(&model, &[with_another_token(&tokens, changed)]);
        for position in 0..SEQ_LEN {
            let difference = largest_difference(&before[position], &after[position]);
            assert!(
                difference > CHANGE,
                "{position} hears of token {changed} by {difference:e} only"
            );
        }
    }
    // Two tokens that change places are seen by a third.
    let swapped = vec![3, 5, 1, 1, 1, 1, 1, 1, 1];
    let logits = [vec![5, 3, 1, 1, 1, 1, 1, 1, 1], swapped].map(|row| dit_logits(&model, &[row]));
    assert!(largest_difference(&logits[0][4], &logits[1][4]) > CHANGE);
    // Where all tokens are the same, so is all that can be read, at every distance.
    let logits = dit_logits(&model, &[vec![4; SEQ_LEN]]);
    for row in &logits {
        assert!(largest_difference(row, &logits[0]) < TOLERANCE);
    }
}

#[test]
fn causal_dit_reads_the_past_only() {
    let model = causal_dit();
    let tokens = random_tokens(1);
    let before = causal_logits(&model, std::slice::from_ref(&tokens));
    for changed in 0..SEQ_LEN {
        let after = causal_logits(&model, &[with_another_token(&tokens, changed)]);
        for position in 0..SEQ_LEN {
            let difference = largest_difference(&before[position], &after[position]);
            if position < changed {
                assert_eq!(
                    difference, 0.0,
                    "{position} depends on token {changed} behind it"
                );
            } else {
                assert!(
                    difference > CHANGE,
                    "{position} hears of token {changed} by {difference:e} only"
                );
            }
        }
    }
    // A prefix has the logits of the whole.
    let prefix = causal_logits(&model, &[tokens[..4].to_vec()]);
    assert!(largest_difference(&prefix.concat(), &before[..4].concat()) < TOLERANCE);
}

#[test]
fn sequences_of_a_batch_do_not_see_each_other() {
    let one = [random_tokens(1), random_tokens(2)];
    let other = [random_tokens(1), random_tokens(3)];
    let (dit, causal) = (dit(), causal_dit());
    assert_eq!(
        dit_logits(&dit, &one)[..SEQ_LEN],
        dit_logits(&dit, &other)[..SEQ_LEN]
    );
    assert_eq!(
        causal_logits(&causal, &one)[..SEQ_LEN],
        causal_logits(&causal, &other)[..SEQ_LEN]
    );
    for (model, what) in partition_transformers() {
        let groups = int_tensor(&[random_groups(3), random_groups(4)]);
        let logits = [&one, &other].map(|batch| {
            let sigma = Tensor::zeros([1], &Device::flex());
            rows(model.forward(int_tensor(batch), groups.clone(), sigma))
        });
        assert_eq!(logits[0][..SEQ_LEN], logits[1][..SEQ_LEN], "{what}");
        assert_ne!(logits[0][SEQ_LEN..], logits[1][SEQ_LEN..], "{what}");
    }
}

/// The head starts at zero, and MASK is never predicted.
#[test]
fn the_first_loss_is_the_entropy_of_a_uniform_guess() {
    let device = Device::flex();
    let expected = ((VOCAB_SIZE - 1) as f32).ln();
    let check = |what: &str, nll: Tensor<2>| {
        for nll in nll.try_into_vec_as::<f32>().expect("floats") {
            assert!(
                (nll - expected).abs() < 1e-6,
                "{what}: {nll} is not {expected}"
            );
        }
    };
    let batch = TokenBatch::unpadded(int_tensor(&[random_tokens(1), random_tokens(2)]));
    let times: [NoiseTime; 2] = [0.2, 0.9].map(|t| NoiseSchedule::default().time(t));
    let low = Weighting::LowVariance;

    let model = partition_config(PreQuery::Sinusoid, QueryProcessorKind::Linear).init(&device);
    let pgm = Pgm::new(MASK).with_weighting(low);
    let groups: Vec<bool> = (0..2 * SEQ_LEN).map(|i| i % 3 == 0).collect();
    let partition = pgm.partition_with(groups, &times).training();
    // Each side counts half.
    check(
        "pgm",
        pgm.token_nll(&model, &batch, &partition).mul_scalar(2.0),
    );

    let mdlm = Mdlm::new(MASK).with_weighting(low);
    let corruption = mdlm
        .corrupt_with(vec![true; 2 * SEQ_LEN], &times)
        .training();
    check(
        "mdlm",
        mdlm.token_nll(&dit_config().init(&device), &batch, &corruption),
    );

    let model = causal_config().init(&device);
    check(
        "causal",
        Autoregressive::new(Some(MASK)).token_nll(&model, &batch),
    );
}

/// Counted without allocating: Burn's parameters are made on first use.
#[test]
fn published_networks_have_the_published_number_of_parameters() {
    let device = Device::flex();
    let pgm = PartitionTransformerConfig::default();
    assert_eq!(pgm.init(&device).num_params(), 202_708_818);
    let wide = PartitionTransformerConfig {
        d_model: 1024,
        n_heads: 16,
        n_encoder_blocks: 6,
        n_decoder_blocks: 6,
        ..pgm.clone()
    };
    assert_eq!(wide.init(&device).num_params(), 268_092_754);
    let mdlm = DitConfig::default();
    assert_eq!(mdlm.init(&device).num_params(), 169_627_218);

    // On bert-base-uncased tokens: 139.3M and 141.7M.
    let vocab_size = 30_522;
    let mdlm = DitConfig { vocab_size, ..mdlm };
    assert_eq!(in_units_of_100_000(mdlm.init(&device).num_params()), 1393);
    let pgm = PartitionTransformerConfig {
        vocab_size,
        n_encoder_blocks: 6,
        n_decoder_blocks: 6,
        ..pgm
    };
    assert_eq!(in_units_of_100_000(pgm.init(&device).num_params()), 1417);
}

fn in_units_of_100_000(n: usize) -> usize {
    (n + 50_000) / 100_000
}

/// One of each kind of GroupSwap, with its name.
fn partition_transformers() -> impl Iterator<Item = (PartitionTransformer, String)> {
    PRE_QUERIES.into_iter().flat_map(|pre_query| {
        [QueryProcessorKind::Linear, QueryProcessorKind::Mlp4].map(|kind| {
            (
                partition_transformer(pre_query, kind),
                format!("{pre_query:?} {kind:?}"),
            )
        })
    })
}

fn partition_transformer(pre_query: PreQuery, kind: QueryProcessorKind) -> PartitionTransformer {
    randomised(partition_config(pre_query, kind).init(&Device::flex()))
}

fn partition_config(
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

fn dit() -> Dit {
    randomised(dit_config().init(&Device::flex()))
}

fn dit_config() -> DitConfig {
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

fn causal_dit() -> CausalDit {
    randomised(causal_config().init(&Device::flex()))
}

fn causal_config() -> CausalDitConfig {
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
fn randomised<M: Module>(model: M) -> M {
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
fn partition_logits(
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
fn known_logits(
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

fn dit_logits(model: &Dit, batch: &[Vec<usize>]) -> Vec<Vec<f32>> {
    rows(model.forward(int_tensor(batch), Tensor::zeros([1], &Device::flex())))
}

fn causal_logits(model: &CausalDit, batch: &[Vec<usize>]) -> Vec<Vec<f32>> {
    rows(model.forward(int_tensor(batch)))
}

/// Ordinary tokens.
fn random_tokens(seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
    (0..SEQ_LEN).map(|_| rng.random_range(0..MASK)).collect()
}

/// Both groups have members.
fn random_groups(seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(200 + seed);
    let n_second = rng.random_range(2..SEQ_LEN - 1);
    let mut groups: Vec<usize> = (0..SEQ_LEN).map(|i| (i < n_second) as usize).collect();
    groups.shuffle(&mut rng);
    groups
}

/// Known positions and the others, both in random order.
fn random_split(n_known: usize, rng: &mut ChaCha8Rng) -> (Vec<usize>, Vec<usize>) {
    let mut positions: Vec<usize> = (0..SEQ_LEN).collect();
    positions.shuffle(rng);
    let queries = positions.split_off(n_known);
    (positions, queries)
}

fn with_another_token(tokens: &[usize], position: usize) -> Vec<usize> {
    let mut tokens = tokens.to_vec();
    tokens[position] = (tokens[position] + 1) % MASK;
    tokens
}

fn int_tensor(rows: &[Vec<usize>]) -> Tensor<2, Int> {
    let values: Vec<i64> = rows.iter().flatten().map(|&x| x as i64).collect();
    Tensor::from_data(
        TensorData::new(values, [rows.len(), rows[0].len()]),
        &Device::flex(),
    )
}

fn host_ints(tensor: Tensor<2, Int>) -> Vec<Vec<usize>> {
    let width = tensor.dims()[1];
    let values: Vec<i64> = tensor.try_into_vec_as().expect("integers");
    values
        .chunks(width)
        .map(|row| row.iter().map(|&x| x as usize).collect())
        .collect()
}

/// One vector of logits a position, sequence by sequence.
fn rows(logits: Tensor<3>) -> Vec<Vec<f32>> {
    let values: Vec<f32> = logits.try_into_vec_as().expect("floats");
    values.chunks(VOCAB_SIZE).map(<[f32]>::to_vec).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |max, x| if x.is_nan() || x > max { x } else { max })
}
