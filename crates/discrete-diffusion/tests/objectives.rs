//! Losses of a language that is small enough to enumerate, against sums over all masks.

mod start_of_training;
mod tiny_denoiser;

use std::convert::Infallible;

use burn::tensor::{Device, Int, Tensor, TensorData};
use discrete_diffusion::objectives::{Autoregressive, ComplementMdlm, Mdlm, Pgm};
use discrete_diffusion::{
    CorruptionDraw, NoiseSchedule, NoiseTime, TokenBatch, Weighting, time_sampler,
};
use proptest::prelude::*;
use rand::{SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;
use tiny_denoiser::{Known, MASK, N_TOKENS, SEQ_LEN, TinyDenoiser, VOCAB_SIZE, probabilities};

const TOKENS: [usize; SEQ_LEN] = [1, 0, 2, 1];
/// The noise schedule's `eps` and the least time.
const EPS: f64 = 1e-3;
const MIN_TIME: f64 = 1e-3;
/// Rounding of float32 logits and losses of a few nats.
const TOLERANCE: f64 = 2e-6;

/// Two million draws. A correct loss is further than 4.42 standard errors from the exact value for
/// one seed in 100,000 (that times are spread evenly makes it rarer); values 1 % off are refuted.
#[test]
fn the_mean_evaluation_loss_is_the_bound_summed_over_all_masks() {
    let exact = exact_bound(|t| 1.0 / t);
    let unweighted = exact_bound(|_| 1.0);
    let of_the_other_group = exact_bound(|t| 1.0 / (1.0 - t + 1e-3));
    let denoiser = TinyDenoiser::default();
    for objective in ["mdlm", "pgm"] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut losses = Vec::new();
        for _ in 0..400 {
            let batch = TokenBatch::unpadded(tokens(&[TOKENS; 5000]));
            let times = time_sampler::antithetic(5000, &mut rng);
            let nll = match objective {
                "mdlm" => {
                    let mdlm = Mdlm::new(MASK);
                    let corruption = mdlm.corrupt(&batch, &times, &mut rng).evaluation();
                    mdlm.token_nll(&denoiser, &batch, &corruption)
                }
                _ => {
                    let pgm = Pgm::new(MASK);
                    let partition = pgm.partition(&batch, &times, &mut rng).evaluation();
                    pgm.token_nll(&denoiser, &batch, &partition)
                }
            };
            losses.extend(host(nll.mean_dim(1)));
        }
        let n = losses.len() as f64;
        let mean = losses.iter().sum::<f64>() / n;
        let variance = losses.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let standard_error = (variance / n).sqrt();
        let distance = |value: f64| (mean - value).abs() / standard_error;
        println!("{objective}: {mean:.4} +- {standard_error:.4}, exact {exact:.4}");
        assert!(
            distance(exact) < 4.42,
            "{mean} is not {exact} +- {standard_error}"
        );
        for wrong in [unweighted, of_the_other_group, 1.01 * exact, 0.99 * exact] {
            assert!(
                distance(wrong) > 5.0,
                "{wrong} is not refuted: {mean} +- {standard_error}"
            );
        }
    }
}

#[test]
fn pgm_and_mdlm_have_the_same_evaluation_loss_mask_by_mask() {
    let batch = TokenBatch::unpadded(tokens(&[TOKENS; 16]));
    let times: Vec<NoiseTime> = (1..=16).map(|i| time(i as f64 / 16.0)).collect();
    let denoiser = TinyDenoiser::default();
    let (mdlm, pgm) = (Mdlm::new(MASK), Pgm::new(MASK));
    // Sequence `i` has the mask with the bits of `i`.
    let hidden: Vec<bool> = (0..16).flat_map(mask).collect();
    let corruption = mdlm.corrupt_with(hidden.clone(), &times).evaluation();
    let partition = pgm.partition_with(hidden, &times).evaluation();
    let expected: Vec<f64> = (0..16)
        .flat_map(|bits| {
            let weight = 16.0 / (bits + 1) as f64;
            nlls(mask(bits)).map(|nll| nll.map_or(0.0, |nll| weight * nll))
        })
        .collect();
    assert_close(mdlm.token_nll(&denoiser, &batch, &corruption), &expected);
    assert_close(pgm.token_nll(&denoiser, &batch, &partition), &expected);
    assert_eq!(denoiser.n_evaluations.get(), 2);
}

#[test]
fn the_training_loss_of_a_pgm_is_half_the_sum_of_both_sides() {
    let batch = TokenBatch::unpadded(tokens(&[TOKENS; 16]));
    let t = 0.3;
    let times = vec![time(t); 16];
    let hidden: Vec<bool> = (0..16).flat_map(mask).collect();
    let expected: Vec<f64> = (0..16)
        .flat_map(|bits| {
            let second = nlls(mask(bits)).map(|nll| nll.map(|nll| 0.5 * nll / t));
            let first = nlls(mask(!bits)).map(|nll| nll.map(|nll| 0.5 * nll / (1.0 - t)));
            let either = |i: usize| second[i].or(first[i]).expect("each token is on one side");
            (0..SEQ_LEN).map(either).collect::<Vec<_>>()
        })
        .collect();
    let denoiser = TinyDenoiser::default();
    let pgm = Pgm::new(MASK);
    let partition = pgm.partition_with(hidden, &times).training();
    assert_close(pgm.token_nll(&denoiser, &batch, &partition), &expected);
    assert_eq!(
        denoiser.n_evaluations.get(),
        1,
        "both sides come from one pass"
    );
}

#[test]
fn complementary_masking_is_the_loss_of_a_pgm_in_two_passes() {
    let batch = TokenBatch::unpadded(tokens(&[TOKENS; 64]));
    let times = time_sampler::antithetic(64, &mut ChaCha8Rng::seed_from_u64(2));
    let rng = || ChaCha8Rng::seed_from_u64(3);
    let denoiser = TinyDenoiser::default();
    let pgm = Pgm::new(MASK);
    let partition = pgm.partition(&batch, &times, &mut rng()).training();
    let expected = host(pgm.token_nll(&denoiser, &batch, &partition));
    denoiser.n_evaluations.set(0);
    let complement = ComplementMdlm::new(MASK);
    let corruption = complement.corrupt(&batch, &times, &mut rng()).training();
    assert_close(
        complement.token_nll(&denoiser, &batch, &corruption),
        &expected,
    );
    assert_eq!(denoiser.n_evaluations.get(), 2);
}

#[test]
fn weightings_change_the_training_loss_only() {
    let times = [time(0.25), time(0.5)];
    let hidden = vec![true, false, true, false, false, true, false, true];
    let mdlm = |weighting| {
        Mdlm::new(MASK)
            .with_weighting(weighting)
            .corrupt_with(hidden.clone(), &times)
    };
    let pgm = |weighting| {
        Pgm::new(MASK)
            .with_weighting(weighting)
            .partition_with(hidden.clone(), &times)
    };
    let low = Weighting::LowVariance;
    assert_eq!(
        mdlm(low).training().weights,
        [1., 0., 1., 0., 0., 1., 0., 1.]
    );
    assert_eq!(pgm(low).training().weights, [0.5; 8]);
    // 1 / t, and half of 1 / t and of 1 / (1 - t).
    let elbo = Weighting::Elbo;
    let of_hidden = [4., 0., 4., 0., 0., 2., 0., 2.];
    assert_eq!(mdlm(elbo).training().weights, of_hidden);
    let third = 0.5 / 0.75;
    assert_eq!(
        pgm(elbo).training().weights,
        [2., third, 2., third, 1., 1., 1., 1.]
    );
    for weighting in [low, elbo, Weighting::ElboFloored] {
        assert_eq!(mdlm(weighting).evaluation().weights, of_hidden);
        assert_eq!(pgm(weighting).evaluation().weights, of_hidden);
    }
}

#[test]
fn tokens_that_do_not_count_cost_nothing_and_change_nothing() {
    let valid = [true, true, false, true, false, false, true, true];
    let all = TokenBatch::unpadded(tokens(&[TOKENS; 2]));
    let some = TokenBatch::new(tokens(&[TOKENS; 2]), valid.to_vec());
    assert_eq!(some.n_valid(), 5);
    let only_valid = |losses: Vec<f64>| -> Vec<f64> {
        let pairs = losses.into_iter().zip(valid);
        pairs
            .map(|(loss, valid)| if valid { loss } else { 0.0 })
            .collect()
    };
    let denoiser = TinyDenoiser::default();
    let times = [time(0.4), time(0.7)];
    let hidden = vec![true, false, true, false, true, true, true, false];

    let mdlm = Mdlm::new(MASK);
    let corruption = mdlm.corrupt_with(hidden.clone(), &times).training();
    let expected = only_valid(host(mdlm.token_nll(&denoiser, &all, &corruption)));
    assert_close(mdlm.token_nll(&denoiser, &some, &corruption), &expected);

    let pgm = Pgm::new(MASK);
    let partition = pgm.partition_with(hidden, &times).training();
    let expected = only_valid(host(pgm.token_nll(&denoiser, &all, &partition)));
    assert!(expected.iter().filter(|&&loss| loss > 0.0).count() == 5);
    assert_close(pgm.token_nll(&denoiser, &some, &partition), &expected);

    let autoregressive = Autoregressive::new(Some(MASK));
    let all_losses = host(autoregressive.token_nll(&denoiser, &all));
    let expected: Vec<f64> = [1, 2, 3, 5, 6, 7]
        .iter()
        .zip(all_losses)
        .map(|(&i, loss)| if valid[i] { loss } else { 0.0 })
        .collect();
    assert_close(autoregressive.token_nll(&denoiser, &some), &expected);
    assert_eq!(autoregressive.n_predicted(&some), 4);
    assert_eq!(autoregressive.n_predicted(&all), 6);
}

#[test]
fn the_autoregressive_loss_is_the_chain_rule() {
    let rows = [TOKENS, [0, 2, 2, 0]];
    let expected: Vec<f64> = rows
        .iter()
        .flat_map(|row| {
            (1..SEQ_LEN).map(|position| {
                let known = std::array::from_fn(|i| (i < position).then_some(row[i]));
                -probabilities(&known, position, 1.0)[row[position]].ln()
            })
        })
        .collect();
    let denoiser = TinyDenoiser::default();
    let batch = TokenBatch::unpadded(tokens(&rows));
    let nll = Autoregressive::new(Some(MASK)).token_nll(&denoiser, &batch);
    assert_eq!(nll.dims(), [2, SEQ_LEN - 1]);
    assert_close(nll, &expected);
    // Without the exclusion MASK, whose logit is the largest, takes nearly all the probability.
    let nll = Autoregressive::new(None).token_nll(&denoiser, &batch);
    assert!(host(nll).iter().all(|&nll| nll > 70.0));
}

#[test]
fn visible_tokens_predict_themselves_and_mask_is_impossible() {
    let noisy = [1, MASK, 2, MASK];
    let log_probs = Mdlm::new(MASK).log_probs(&TinyDenoiser::default(), tokens(&[noisy]));
    assert_eq!(log_probs.dims(), [1, SEQ_LEN, VOCAB_SIZE]);
    let log_probs = host(log_probs);
    let known: Known = noisy.map(|token| (token != MASK).then_some(token));
    for (position, row) in log_probs.chunks(VOCAB_SIZE).enumerate() {
        let expected: [f64; N_TOKENS] = match known[position] {
            Some(token) => std::array::from_fn(|i| if i == token { 1.0 } else { 0.0 }),
            None => probabilities(&known, position, 1.0),
        };
        assert_eq!(row[MASK].exp(), 0.0);
        for (log_prob, p) in row.iter().zip(expected) {
            assert!((log_prob.exp() - p).abs() < TOLERANCE, "{row:?}");
        }
    }
}

#[test]
fn losses_stay_finite_as_t_goes_to_one() {
    let batch = TokenBatch::unpadded(tokens(&[TOKENS]));
    let denoiser = TinyDenoiser::default();
    let last = NoiseTime {
        t: 1.0 - f64::EPSILON / 2.0,
        ..time(1.0)
    };
    for t in [time(1.0), last] {
        for hidden in [[true; 4], [true, true, true, false], [false; 4]] {
            let draws = [
                Weighting::Elbo,
                Weighting::ElboFloored,
                Weighting::LowVariance,
            ]
            .map(|w| {
                Pgm::new(MASK)
                    .with_weighting(w)
                    .partition_with(hidden.to_vec(), &[t])
            });
            for draw in draws {
                for partition in [draw.training(), draw.evaluation()] {
                    let nll = host(Pgm::new(MASK).token_nll(&denoiser, &batch, &partition));
                    assert!(nll.iter().all(|nll| nll.is_finite()), "{hidden:?}: {nll:?}");
                }
            }
            let floored = Pgm::new(MASK).with_weighting(Weighting::ElboFloored);
            let weights = floored
                .partition_with(hidden.to_vec(), &[t])
                .training()
                .weights;
            assert!(weights.iter().all(|&weight| weight <= 500.0), "{weights:?}");
        }
    }
    for n in [1, 3, 512] {
        for time in time_sampler::antithetic(n, &mut LargestNumber) {
            let weight = NoiseSchedule::default().elbo_weight(time.flipped());
            assert!((weight as f32).is_finite(), "{time:?}");
        }
    }
}

/// The generator whose uniform numbers are as close to 1 as they can be.
struct LargestNumber;

impl TryRng for LargestNumber {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::MAX)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::MAX)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(u8::MAX);
        Ok(())
    }
}

#[test]
#[should_panic(expected = "one time a sequence: 3 times for 2 sequences")]
fn times_of_another_batch_are_refused_with_the_numbers() {
    let batch = TokenBatch::unpadded(tokens(&[TOKENS; 2]));
    Mdlm::new(MASK).corrupt(&batch, &[time(0.5); 3], &mut ChaCha8Rng::seed_from_u64(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_loss_is_negative(
        rows in prop::collection::vec(prop::array::uniform4(0..N_TOKENS), 1..8),
        t in 1e-6..=1.0f64,
        seed in any::<u64>(),
    ) {
        let batch = TokenBatch::unpadded(tokens(&rows));
        let times = vec![time(t); rows.len()];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let denoiser = TinyDenoiser::default();
        let both = |draw: CorruptionDraw| [draw.training(), draw.evaluation()];

        let mut losses = host(Autoregressive::new(Some(MASK)).token_nll(&denoiser, &batch));
        let mdlm = Mdlm::new(MASK);
        for corruption in both(mdlm.corrupt(&batch, &times, &mut rng)) {
            losses.extend(host(mdlm.token_nll(&denoiser, &batch, &corruption)));
        }
        let pgm = Pgm::new(MASK);
        for partition in both(pgm.partition(&batch, &times, &mut rng)) {
            losses.extend(host(pgm.token_nll(&denoiser, &batch, &partition)));
        }
        let complement = ComplementMdlm::new(MASK);
        for corruption in both(complement.corrupt(&batch, &times, &mut rng)) {
            losses.extend(host(complement.token_nll(&denoiser, &batch, &corruption)));
        }
        prop_assert!(losses.iter().all(|&loss| loss >= 0.0), "{:?}", losses);
    }
}

/// Nats a token of [`TOKENS`], expected over times and masks. With a weight of 1 / t the integrand
/// is a cubic in `t`, for which Simpson's rule is exact; the other weights only need to be close.
fn exact_bound(weight: impl Fn(f64) -> f64) -> f64 {
    let expected = |t: f64| -> f64 {
        let hidden = (1.0 - EPS) * t;
        (0..1usize << SEQ_LEN)
            .map(|bits| {
                let n = bits.count_ones() as i32;
                let probability = hidden.powi(n) * (1.0 - hidden).powi(SEQ_LEN as i32 - n);
                let sum: f64 = nlls(mask(bits)).iter().flatten().sum();
                probability * weight(t) * sum / SEQ_LEN as f64
            })
            .sum()
    };
    let n = 2000;
    let at = |i: usize| expected(MIN_TIME + (1.0 - MIN_TIME) * i as f64 / n as f64);
    let inner: f64 = (1..n)
        .map(|i| at(i) * if i % 2 == 1 { 4.0 } else { 2.0 })
        .sum();
    (at(0) + inner + at(n)) / (3 * n) as f64
}

/// `-log p` of the hidden tokens of [`TOKENS`], each from the visible ones.
fn nlls(hidden: [bool; SEQ_LEN]) -> [Option<f64>; SEQ_LEN] {
    let known: Known = std::array::from_fn(|i| (!hidden[i]).then_some(TOKENS[i]));
    std::array::from_fn(|i| hidden[i].then(|| -probabilities(&known, i, 1.0)[TOKENS[i]].ln()))
}

fn mask(bits: usize) -> [bool; SEQ_LEN] {
    std::array::from_fn(|i| bits >> i & 1 == 1)
}

fn time(t: f64) -> NoiseTime {
    NoiseSchedule::default().time(t)
}

fn tokens(rows: &[[usize; SEQ_LEN]]) -> Tensor<2, Int> {
    let values: Vec<i64> = rows.iter().flatten().map(|&token| token as i64).collect();
    Tensor::from_data(
        TensorData::new(values, [rows.len(), SEQ_LEN]),
        &Device::flex(),
    )
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as().expect("floats")
}

/// Compares relative to `max(1, |expected|)`; NaN fails.
fn assert_close(ours: Tensor<2>, expected: &[f64]) {
    let ours = host(ours);
    assert_eq!(ours.len(), expected.len());
    for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
        let error = (a - b).abs() / b.abs().max(1.0);
        assert!(
            error <= TOLERANCE,
            "[{i}] is {a}, not {b}: off by {error:e}"
        );
    }
}
