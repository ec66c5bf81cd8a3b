//! Perplexities against sums in float64 that share no code with them: over the very draws, and over all that can be
//! hidden.

#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::Path;

use burn::data::dataset::InMemDataset;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use discrete_diffusion::random_streams::{Stream, stream};
use discrete_diffusion::{CausalDenoiser, PartitionDenoiser, SequenceDenoiser};
use pgm_data::TokenSequence;
use pgm_model::{CausalDitConfig, DitConfig, LanguageModel, LanguageModelConfig};
use pgm_perplexity::{
    EvaluationTimes, Perplexity, PerplexityKind, PerplexityReport, ScoredSequence,
};
use pgm_weights::{WeightsChoice, WeightsFile};
use rand::RngExt;

const MASK: usize = 100;
const SEED: u64 = 5;
/// The noise schedule's `eps` and the least time, as published.
const EPS: f64 = 1e-3;
const LEAST_TIME: f64 = 1e-3;

/// A PGM and an MDLM with random weights.
fn diffusion_models() -> [LanguageModel; 2] {
    let golden = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pgm-weights/tests/golden");
        let file = WeightsFile::open(folder.join(name), WeightsChoice::default()).unwrap();
        file.load(Some(4), &Device::flex()).unwrap()
    };
    [
        golden("weights_pgm_linear_n025.safetensors"),
        golden("weights_mdlm_n025.safetensors"),
    ]
}

fn causal_model() -> LanguageModel {
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

fn perplexity(times: EvaluationTimes, n_draws: usize) -> Perplexity {
    Perplexity {
        n_sequences: None,
        n_draws,
        times,
        batch_size: 64,
        seed: SEED,
        mask_token: MASK,
    }
}

fn estimate(
    perplexity: Perplexity,
    model: &LanguageModel,
    rows: &[TokenSequence],
) -> (PerplexityReport, Vec<ScoredSequence>) {
    let mut scores = Vec::new();
    let data = InMemDataset::new(rows.to_vec());
    let report = perplexity
        .estimate(model, &data, &Device::flex(), &mut scores, &mut |_, _| {
            ControlFlow::Continue(())
        })
        .unwrap();
    (report, scores)
}

/// `-log p` of every token of a row, those that are `hidden` from the visible ones; for an autoregressive model, each from
/// those before it.
fn nats(model: &LanguageModel, tokens: &[u32], hidden: &[bool]) -> Vec<f64> {
    let device = Device::flex();
    let row = |values: Vec<i64>| {
        let shape = [1, values.len()];
        Tensor::<2, Int>::from_data(TensorData::new(values, shape), &device)
    };
    let whole: Vec<i64> = tokens.iter().map(|&token| token.into()).collect();
    // Which position each row of the logits is of.
    let mut places: Vec<usize> = (0..tokens.len()).collect();
    let logits = match model {
        LanguageModel::Causal(network) => {
            places = (1..tokens.len()).collect();
            network.next_logits(row(whole))
        }
        LanguageModel::Masked(network) => {
            let pairs = whole.iter().zip(hidden);
            let noisy = pairs.map(|(&token, &hidden)| if hidden { MASK as i64 } else { token });
            network.logits(row(noisy.collect()))
        }
        LanguageModel::Partition(network) => {
            let groups = hidden.iter().map(|&hidden| i64::from(hidden));
            let output = network.partition_logits(row(whole), row(groups.collect()));
            let order: Vec<i64> = output.order.try_into_vec_as().unwrap();
            places = order.into_iter().map(|place| place as usize).collect();
            output.logits
        }
    };
    let logits: Vec<f64> = logits.try_into_vec_as().unwrap();
    let mut nats = vec![0.0; tokens.len()];
    for (place, logits) in places.into_iter().zip(logits.chunks(MASK + 1)) {
        let total: f64 = logits[..MASK].iter().map(|logit| logit.exp()).sum();
        nats[place] = total.ln() - logits[tokens[place] as usize];
    }
    nats
}

/// Seven rows of 12 tokens, of which the last ones do not count.
fn padded_rows() -> Vec<TokenSequence> {
    let row = |i: usize| TokenSequence {
        tokens: (0..12).map(|j| (i * i + 17 * j) as u32 % 100).collect(),
        valid: (0..12).map(|j| j < 12 - i).collect(),
    };
    (0..7).map(row).collect()
}

/// The nats of a sequence, averaged over its draws, which are made once more.
fn nats_of_draws(
    model: &LanguageModel,
    (number, row): (usize, &TokenSequence),
    times: EvaluationTimes,
    n_draws: usize,
) -> f64 {
    let len = row.tokens.len();
    let mut rng = stream(SEED, Stream::Evaluation, number as u64);
    let mut total = 0.0;
    for draw in 0..n_draws {
        let u = (draw as f64 + rng.random::<f64>()) / n_draws as f64;
        let (hidden, weight) = match times {
            EvaluationTimes::Published => {
                let t = LEAST_TIME + (1.0 - LEAST_TIME) * u;
                let is_hidden = |_| rng.random::<f64>() < (1.0 - EPS) * t;
                ((0..len).map(is_hidden).collect::<Vec<_>>(), 1.0 / t)
            }
            EvaluationTimes::Full => {
                let n = 1 + (u * len as f64).floor() as usize;
                let chosen = rand::seq::index::sample(&mut rng, len, n).into_vec();
                let hidden = (0..len).map(|place| chosen.contains(&place)).collect();
                (hidden, len as f64 / n as f64)
            }
        };
        let nats = nats(model, &row.tokens, &hidden);
        for place in 0..len {
            if hidden[place] && row.valid[place] {
                total += weight * nats[place] / n_draws as f64;
            }
        }
    }
    total
}

/// Checks a report and scores against nats and counted tokens of each sequence.
fn assert_is_made_of(
    (report, scores): (PerplexityReport, Vec<ScoredSequence>),
    expected: &[(f64, usize)],
) {
    let close = |found: f64, wanted: f64| {
        assert!((found / wanted - 1.0).abs() < 2e-5, "{found} {wanted}");
    };
    assert_eq!(scores.len(), expected.len());
    for (score, &(nats, n_tokens)) in scores.iter().zip(expected) {
        close(score.nats, nats);
        assert_eq!(score.n_tokens, n_tokens);
    }
    let n_tokens: usize = expected.iter().map(|(_, n)| n).sum();
    let mean = expected.iter().map(|(nats, _)| nats).sum::<f64>() / n_tokens as f64;
    let mut squares = 0.0;
    for &(nats, n) in expected {
        squares += (nats - mean * n as f64).powi(2);
    }
    let n = expected.len() as f64;
    close(report.nll, mean);
    close(report.perplexity, mean.exp());
    let error = (n / (n - 1.0) * squares).sqrt() / n_tokens as f64;
    close(report.nll_standard_error, error);
    assert_eq!(report.n_tokens, n_tokens);
}

#[test]
fn an_estimate_is_the_sum_over_its_draws() {
    let rows = padded_rows();
    for model in diffusion_models() {
        for (times, kind) in [
            (EvaluationTimes::Published, PerplexityKind::Published),
            (EvaluationTimes::Full, PerplexityKind::UpperBound),
        ] {
            let found = estimate(perplexity(times, 3), &model, &rows);
            assert_eq!((found.0.kind, found.0.n_draws), (kind, 3));
            let expected: Vec<(f64, usize)> = rows
                .iter()
                .enumerate()
                .map(|(number, row)| {
                    let nats = nats_of_draws(&model, (number, row), times, 3);
                    (nats, 12 - number)
                })
                .collect();
            assert_is_made_of(found, &expected);
        }
    }
}

#[test]
fn an_autoregressive_perplexity_is_the_sum_over_all_tokens_but_the_first() {
    let model = causal_model();
    let rows = padded_rows();
    let expected: Vec<(f64, usize)> = rows
        .iter()
        .map(|row| {
            let nats = nats(&model, &row.tokens, &[]);
            let n_valid = row.valid.iter().filter(|&&valid| valid).count();
            (nats[1..n_valid].iter().sum(), n_valid - 1)
        })
        .collect();
    for times in [EvaluationTimes::Published, EvaluationTimes::Full] {
        let found = estimate(perplexity(times, 3), &model, &rows);
        assert_eq!((found.0.kind, found.0.n_draws), (PerplexityKind::Exact, 0));
        assert_is_made_of(found, &expected);
    }
}

const TOKENS: [u32; 4] = [7, 31, 2, 64];

/// `-log p` of each token of [`TOKENS`] given the visible ones, for each set of hidden ones: bit `i` of the index for
/// token `i`.
fn all_nats(model: &LanguageModel) -> Vec<Vec<f64>> {
    let hidden = |set: usize| (0..4).map(move |i| set >> i & 1 == 1).collect::<Vec<_>>();
    (0..16)
        .map(|set| nats(model, &TOKENS, &hidden(set)))
        .collect()
}

/// Nats of all hidden tokens of a set.
fn sum_over(set: usize, nats: &[Vec<f64>]) -> f64 {
    (0..4)
        .filter(|i| set >> i & 1 == 1)
        .map(|i| nats[set][i])
        .sum()
}

/// Nats a token, exact: where the order in which tokens are revealed is drawn, the probability is the mean over
/// orders of a product. Beside it the mean over orders of the logarithm, which is no smaller.
fn exact_and_mean_over_orders(nats: &[Vec<f64>]) -> [f64; 2] {
    let (mut probability, mut mean, mut n_orders) = (0.0, 0.0, 0.0);
    for order in 0..256usize {
        let order: [usize; 4] = std::array::from_fn(|i| order >> (2 * i) & 3);
        let mut hidden = 15;
        let mut total = 0.0;
        for place in order {
            if hidden >> place & 1 == 1 {
                total += nats[hidden][place];
                hidden -= 1 << place;
            }
        }
        // Orders that name a place twice leave another one out.
        if hidden == 0 {
            probability += (-total).exp();
            mean += total;
            n_orders += 1.0;
        }
    }
    assert_eq!(n_orders, 24.0);
    [-(probability / n_orders).ln() / 4.0, mean / n_orders / 4.0]
}

/// What estimates with these times are of, nats a token.
fn expectation(times: EvaluationTimes, nats: &[Vec<f64>]) -> f64 {
    let sets = |weight: &dyn Fn(f64) -> f64| -> f64 {
        (1..16usize)
            .map(|set| weight(f64::from(set.count_ones())) * sum_over(set, nats) / 4.0)
            .sum()
    };
    match times {
        // 4, 6, 4 and 1 sets of 1 to 4 tokens, each number as likely as the others.
        EvaluationTimes::Full => sets(&|n| 4.0 / n / 4.0 / [4.0, 6.0, 4.0, 1.0][n as usize - 1]),
        EvaluationTimes::Published => {
            let at = |t: f64| {
                let h = (1.0 - EPS) * t;
                sets(&|n| h.powf(n) * (1.0 - h).powf(4.0 - n) / t)
            };
            // A cubic in `t`, for which Simpson's rule is exact.
            (at(LEAST_TIME) + 4.0 * at((LEAST_TIME + 1.0) / 2.0) + at(1.0)) / 6.0
        }
    }
}

/// 6,400 draws. A correct estimate is further than 4.42 standard errors from its expectation for one seed in 100,000.
#[test]
fn both_estimates_converge_to_their_sums_over_everything_that_can_be_hidden() {
    let row = TokenSequence {
        tokens: TOKENS.to_vec(),
        valid: vec![true; 4],
    };
    let copies = vec![row; 64];
    for model in diffusion_models() {
        let nats = all_nats(&model);
        let [exact, over_orders] = exact_and_mean_over_orders(&nats);
        let full = expectation(EvaluationTimes::Full, &nats);
        assert!(
            (full / over_orders - 1.0).abs() < 1e-9,
            "{full} {over_orders}"
        );
        assert!(full > exact + 0.01, "{full} bounds {exact}");
        for times in [EvaluationTimes::Full, EvaluationTimes::Published] {
            let expected = expectation(times, &nats);
            let (report, _) = estimate(perplexity(times, 100), &model, &copies);
            let error = report.nll_standard_error;
            println!("{times:?}: {} +- {error}, {expected}", report.nll);
            assert!(error < 0.02 * expected, "{error}");
            let distance = (report.nll - expected).abs() / error;
            assert!(distance < 4.42, "{times:?}: {} {expected}", report.nll);
        }
    }
}

/// Of a network whose predictions depend on nothing: the order does not matter, and every draw is exact.
#[test]
fn the_published_estimate_is_below_the_likelihood_where_tokens_are_independent() {
    let config = LanguageModelConfig::Masked(DitConfig {
        vocab_size: MASK + 1,
        d_model: 8,
        n_heads: 2,
        n_blocks: 1,
        cond_dim: 8,
        dropout: 0.0,
        ..Default::default()
    });
    // All logits of a new network are 0, for 100 tokens besides MASK.
    let model = config.init(&Device::flex());
    let nats = all_nats(&model);
    let [exact, _] = exact_and_mean_over_orders(&nats);
    assert!((exact - 100f64.ln()).abs() < 1e-6, "{exact}");
    let (report, scores) = estimate(perplexity(EvaluationTimes::Full, 2), &model, &padded_rows());
    assert!((scores[0].nats / 12.0 - exact).abs() < 1e-5);
    assert_eq!(report.kind, PerplexityKind::UpperBound);
    let published = expectation(EvaluationTimes::Published, &nats);
    assert!(
        (published / exact - 0.999).abs() < 1e-6,
        "{published} {exact}"
    );
}
