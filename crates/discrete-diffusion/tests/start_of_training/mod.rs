//! What each objective costs before anything is learned: all tokens are equally likely.

use burn::tensor::{Int, Tensor};
use discrete_diffusion::objectives::{Autoregressive, ComplementMdlm, Mdlm, Pgm};
use discrete_diffusion::{
    CausalDenoiser, Corruption, CorruptionDraw, KnownTokens, PartitionDenoiser, PartitionLogits,
    QueryPositions, SequenceDenoiser, TokenBatch, Weighting,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::tiny_denoiser::{MASK, N_TOKENS, SEQ_LEN, VOCAB_SIZE};
use crate::{EPS, TOKENS, assert_close, host, mask, time, tokens};

/// Gives every token, MASK among them, the same logit.
struct Undecided;

const LOGIT: f32 = 2.5;
const WEIGHTINGS: [Weighting; 3] = [
    Weighting::Elbo,
    Weighting::ElboFloored,
    Weighting::LowVariance,
];
/// Near both ends too, where weights are large; the floor of 1e-3 is reached from both.
const TIMES: [f64; 6] = [5e-4, 1e-3, 0.3, 0.5, 0.9, 0.9995];

fn equal(tokens: &Tensor<2, Int>) -> Tensor<3> {
    let [batch, seq_len] = tokens.dims();
    Tensor::full([batch, seq_len, VOCAB_SIZE], LOGIT, &tokens.device())
}

impl SequenceDenoiser for Undecided {
    fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        equal(&tokens)
    }
}

impl PartitionDenoiser for Undecided {
    fn partition_logits(&self, tokens: Tensor<2, Int>, _: Tensor<2, Int>) -> PartitionLogits {
        let [batch, seq_len] = tokens.dims();
        let order = Tensor::<1, Int>::arange(0..seq_len as i64, &tokens.device());
        PartitionLogits {
            logits: equal(&tokens),
            order: order.unsqueeze_dim::<2>(0).expand([batch, seq_len]),
        }
    }

    fn known_features(&self, _: KnownTokens, queries: QueryPositions) -> Tensor<3> {
        equal(&queries.positions)
    }
}

impl CausalDenoiser for Undecided {
    type Cache = ();

    fn next_logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        equal(&tokens)
    }

    fn next_logits_cached(&self, tokens: Tensor<2, Int>, _: &mut ()) -> Tensor<2> {
        equal(&tokens.narrow(1, 0, 1)).squeeze_dim(1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Diffusion {
    Mdlm,
    Pgm,
    ComplementMdlm,
}

const ALL: [Diffusion; 3] = [Diffusion::Mdlm, Diffusion::Pgm, Diffusion::ComplementMdlm];

impl Diffusion {
    fn draw(self, weighting: Weighting, batch: &TokenBatch, t: f64, seed: u64) -> CorruptionDraw {
        let times = vec![time(t); batch.tokens.dims()[0]];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        match self {
            Self::Mdlm => {
                let mdlm = Mdlm::new(MASK).with_weighting(weighting);
                mdlm.corrupt(batch, &times, &mut rng)
            }
            Self::Pgm => {
                let pgm = Pgm::new(MASK).with_weighting(weighting);
                pgm.partition(batch, &times, &mut rng)
            }
            Self::ComplementMdlm => {
                let complement = ComplementMdlm::new(MASK).with_weighting(weighting);
                complement.corrupt(batch, &times, &mut rng)
            }
        }
    }

    /// The given masks. Both sides of a complementary mask are those of a partition.
    fn given(self, weighting: Weighting, hidden: Vec<bool>, t: f64) -> CorruptionDraw {
        let times = vec![time(t); hidden.len() / SEQ_LEN];
        match self {
            Self::Mdlm => Mdlm::new(MASK)
                .with_weighting(weighting)
                .corrupt_with(hidden, &times),
            _ => Pgm::new(MASK)
                .with_weighting(weighting)
                .partition_with(hidden, &times),
        }
    }

    fn token_nll(self, batch: &TokenBatch, corruption: &Corruption) -> Vec<f64> {
        host(match self {
            Self::Mdlm => Mdlm::new(MASK).token_nll(&Undecided, batch, corruption),
            Self::Pgm => Pgm::new(MASK).token_nll(&Undecided, batch, corruption),
            Self::ComplementMdlm => {
                ComplementMdlm::new(MASK).token_nll(&Undecided, batch, corruption)
            }
        })
    }

    /// The weight of a token if it is hidden at time `t`, and if it is not.
    fn weights(self, weighting: Weighting, t: f64) -> (f64, f64) {
        let weight = |t: f64| match weighting {
            Weighting::Elbo => 1.0 / t,
            Weighting::ElboFloored => 1.0 / t.max(1e-3),
            Weighting::LowVariance => 1.0,
        };
        match self {
            Self::Mdlm => (weight(t), 0.0),
            Self::Pgm | Self::ComplementMdlm => (0.5 * weight(t), 0.5 * weight(1.0 - t)),
        }
    }
}

/// The nats of a token among all but MASK.
fn undecided_nats() -> f64 {
    (N_TOKENS as f64).ln()
}

/// The probability that a token is hidden.
fn hidden_share(t: f64) -> f64 {
    (1.0 - EPS) * t
}

/// Nats a token in expectation over all masks of a time.
fn over_all_masks(objective: Diffusion, corruption: &Corruption, t: f64) -> f64 {
    let batch = TokenBatch::unpadded(tokens(&[TOKENS; 1 << SEQ_LEN]));
    let losses = objective.token_nll(&batch, corruption);
    let share = hidden_share(t);
    let expected = losses.chunks(SEQ_LEN).enumerate().map(|(bits, losses)| {
        let n = bits.count_ones() as i32;
        let probability = share.powi(n) * (1.0 - share).powi(SEQ_LEN as i32 - n);
        probability * losses.iter().sum::<f64>() / SEQ_LEN as f64
    });
    expected.sum()
}

#[test]
fn diffusion_objectives_start_at_the_weights_times_the_entropy() {
    let hidden: Vec<bool> = (0..1 << SEQ_LEN).flat_map(mask).collect();
    for objective in ALL {
        for weighting in WEIGHTINGS {
            for t in TIMES {
                let draw = objective.given(weighting, hidden.clone(), t);
                let (of_hidden, of_visible) = objective.weights(weighting, t);
                let share = hidden_share(t);
                let expected = share * of_hidden + (1.0 - share) * of_visible;
                let start = over_all_masks(objective, &draw.training(), t) / undecided_nats();
                assert!(
                    (start / expected - 1.0).abs() < 1e-5,
                    "{objective:?} {weighting:?} at {t}: {start}, not {expected}"
                );
                // The bound is the same for all of them: 1 / t for a share of (1 - eps) t.
                let bound = over_all_masks(objective, &draw.evaluation(), t);
                let expected = (1.0 - EPS) * undecided_nats();
                assert!(
                    (bound / expected - 1.0).abs() < 1e-5,
                    "{objective:?} at {t}: {bound}, not {expected}"
                );
            }
        }
    }
}

/// The values above, worked out: in units of `ln(V - 1)`, at time 1/2 without `eps`, an MDLM starts
/// at 1, and a PGM at half of 1 + 1; with low variance both start at 1/2.
#[test]
fn the_start_at_half_the_time() {
    let hidden: Vec<bool> = (0..1 << SEQ_LEN).flat_map(mask).collect();
    for (objective, weighting, expected) in [
        (Diffusion::Mdlm, Weighting::Elbo, 0.999),
        (Diffusion::Mdlm, Weighting::LowVariance, 0.4995),
        // (0.999 + 1.001) / 2 and (0.4995 + 0.5005) / 2.
        (Diffusion::Pgm, Weighting::Elbo, 1.0),
        (Diffusion::Pgm, Weighting::LowVariance, 0.5),
        (Diffusion::ComplementMdlm, Weighting::Elbo, 1.0),
        (Diffusion::ComplementMdlm, Weighting::LowVariance, 0.5),
    ] {
        let draw = objective.given(weighting, hidden.clone(), 0.5).training();
        let start = over_all_masks(objective, &draw, 0.5) / undecided_nats();
        assert!(
            (start - expected).abs() < 1e-5,
            "{objective:?} {weighting:?}: {start}, not {expected}"
        );
    }
}

/// 80,000 tokens that are hidden independently: a correct draw is further than 4.42 standard errors
/// from the expectation for one seed in 100,000.
#[test]
fn drawn_masks_start_where_all_masks_do() {
    let t = 0.3;
    let batch = TokenBatch::unpadded(tokens(&[TOKENS; 20_000]));
    let n = (20_000 * SEQ_LEN) as f64;
    for (seed, objective) in ALL.into_iter().enumerate() {
        for weighting in WEIGHTINGS {
            let draw = objective.draw(weighting, &batch, t, seed as u64);
            let losses = objective.token_nll(&batch, &draw.training());
            let mean = losses.iter().sum::<f64>() / n / undecided_nats();
            let (of_hidden, of_visible) = objective.weights(weighting, t);
            let start = |share: f64| share * of_hidden + (1.0 - share) * of_visible;
            let share = hidden_share(t);
            let standard_error =
                (of_hidden - of_visible).abs() * (share * (1.0 - share) / n).sqrt();
            assert!(
                (mean - start(share)).abs() < 4.42 * standard_error + 1e-5,
                "{objective:?} {weighting:?}: {mean}, not {}",
                start(share)
            );
            // With the weights of a PGM at low variance, all tokens count alike.
            if standard_error > 0.0 {
                for wrong in [1.0 - share, 0.9 * share, 1.1 * share] {
                    let distance = (mean - start(wrong)).abs();
                    assert!(distance > 5.0 * standard_error, "{wrong} is not refuted");
                }
            }
        }
    }
}

#[test]
fn an_autoregressive_model_starts_at_the_entropy() {
    let batch = TokenBatch::unpadded(tokens(&[TOKENS; 2]));
    let expected = |nats: f64| vec![nats; 2 * (SEQ_LEN - 1)];
    let nll = Autoregressive::new(Some(MASK)).token_nll(&Undecided, &batch);
    assert_close(nll, &expected(undecided_nats()));
    // MASK is one of the outcomes unless it is left out.
    let nll = Autoregressive::new(None).token_nll(&Undecided, &batch);
    assert_close(nll, &expected((VOCAB_SIZE as f64).ln()));
}
