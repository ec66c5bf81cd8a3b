//! What all samplers have in common.

use burn::tensor::Device;
use discrete_diffusion::TokenSampler;
use discrete_diffusion::samplers::{
    Context, PredictionUse, Remasking, RevealOrder, RevealSchedule, SampleRequest,
};

use crate::experiment::{
    Network, Sampler, autoregressive, context, in_blocks, ordered, published, request, scheduled,
    tokens_at,
};
use crate::laws::{
    ALL, Draw, Law, ONLY_BOS, ancestral_from, at_temperature, certain, chain_rule, even_from, plain,
};
use crate::statistics::{assert_follows, assert_refutes};
use crate::tiny_denoiser::{Known, N_TOKENS, SEQ_LEN};

/// One of each kind.
pub fn all_samplers() -> Vec<Sampler> {
    let remasking = RevealSchedule::Remasking(Remasking::Cap(0.3));
    let bound = RevealSchedule::EntropyBound(0.5);
    vec![
        scheduled(Network::Mdlm, RevealSchedule::Binomial, 3),
        scheduled(Network::PgmNaive, RevealSchedule::Binomial, 3),
        scheduled(Network::PgmKnown, RevealSchedule::Binomial, 3),
        scheduled(Network::PgmKnown, RevealSchedule::BinomialPublished, 3),
        scheduled(Network::PgmKnown, RevealSchedule::Even, 2),
        scheduled(Network::Mdlm, remasking, 5),
        scheduled(Network::PgmKnown, remasking, 5),
        ordered(
            Network::PgmKnown,
            RevealSchedule::Even,
            2,
            RevealOrder::Margin,
        ),
        ordered(Network::PgmKnown, bound, 1, RevealOrder::Entropy),
        ordered(Network::PgmKnown, bound, 1, RevealOrder::Confidence),
        in_blocks(
            Network::Mdlm,
            RevealSchedule::Even,
            3,
            2,
            RevealOrder::Confidence,
        ),
        in_blocks(
            Network::PgmKnown,
            RevealSchedule::Binomial,
            6,
            2,
            RevealOrder::Random,
        ),
        published(3, PredictionUse::OneStep),
        published(3, PredictionUse::UntilChanged),
        autoregressive(),
    ]
}

/// The samplers that have loops of their own, with their laws.
fn laws(draw: &Draw) -> [(Sampler, Law); 4] {
    let ancestral = ancestral_from(certain(ONLY_BOS), ALL, 2, draw);
    [
        (
            scheduled(Network::Mdlm, RevealSchedule::Binomial, 2),
            ancestral.clone(),
        ),
        (
            scheduled(Network::PgmKnown, RevealSchedule::Even, 2),
            even_from(certain(ONLY_BOS), &[2, 1], draw),
        ),
        (published(2, PredictionUse::OneStep), ancestral),
        (autoregressive(), chain_rule(ONLY_BOS, draw)),
    ]
}

#[test]
fn temperature_reaches_the_draw_of_every_sampler() {
    let wrong = laws(&at_temperature(1.3));
    for ((sampler, law), (_, wrong)) in laws(&at_temperature(1.5)).into_iter().zip(wrong) {
        let counts = sampler.count_from(ONLY_BOS, tokens_at(1.5), 400);
        assert_follows(&counts, &law);
        assert_refutes(&counts, &wrong);
    }
}

#[test]
fn top_k_and_top_p_reach_the_draw_of_every_sampler() {
    let without = |cut: fn([f64; N_TOKENS]) -> usize| {
        move |known: &Known, position: usize| {
            let mut p = plain(known, position);
            let mut order = [0, 1, 2];
            order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
            let kept = cut(order.map(|token| p[token]));
            order[kept..].iter().for_each(|&token| p[token] = 0.0);
            let total: f64 = p.iter().sum();
            p.map(|p| p / total)
        }
    };
    let two = without(|_| 2);
    let nucleus = without(|p| {
        if p[0] >= 0.6 {
            1
        } else if p[0] + p[1] >= 0.6 {
            2
        } else {
            3
        }
    });
    let cases: [(TokenSampler, &Draw); 2] = [
        (tokens_at(1.0).with_top_k(2).expect("a number"), &two),
        (
            tokens_at(1.0).with_top_p(0.6).expect("a probability"),
            &nucleus,
        ),
    ];
    for (tokens, draw) in cases {
        for ((sampler, law), (_, uncut)) in laws(draw).into_iter().zip(laws(&plain)) {
            let counts = sampler.count_from(ONLY_BOS, tokens, 410);
            assert_follows(&counts, &law);
            assert_refutes(&counts, &uncut);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_text_whatever_the_batch_size() {
    let device = Device::flex();
    let n = 60;
    let contexts: Vec<Context> = vec![context(ONLY_BOS); n];
    for sampler in all_samplers() {
        let batch = |n_sequences: usize, first_sequence, seed| {
            let request = SampleRequest {
                first_sequence,
                ..request(&contexts[..n_sequences], seed, &device)
            };
            sampler.sample(&request).expect("samples").sequences
        };
        let together = batch(n, 0, 7);
        let alone: Vec<Vec<u32>> = (0..n as u64).flat_map(|i| batch(1, i, 7)).collect();
        assert_eq!(together, alone, "{sampler:?}");
        assert_eq!(together[20..50], batch(30, 20, 7), "{sampler:?}");
        assert_ne!(together, batch(n, 0, 8), "{sampler:?} ignores the seed");
        assert_ne!(
            together,
            batch(n, n as u64, 7),
            "{sampler:?} repeats itself"
        );
    }
}

#[test]
fn the_network_runs_as_often_as_documented() {
    let device = Device::flex();
    let contexts = vec![context(ONLY_BOS); 1000];
    let evaluations = |sampler: Sampler, n: usize| {
        let samples = sampler.sample(&request(&contexts[..n], 0, &device));
        samples.expect("samples").network_evaluations
    };
    for n_steps in [1, 2, 3, 8, 50] {
        // At most one more than the steps; in a large batch each step reveals something. What is
        // left for the last step has a probability of 1e-5 a position.
        for network in [Network::Mdlm, Network::PgmNaive, Network::PgmKnown] {
            let sampler = scheduled(network, RevealSchedule::Binomial, n_steps);
            let n = evaluations(sampler, 1000);
            assert!(n == n_steps || n == n_steps + 1, "{sampler:?}: {n}");
            // A single sequence needs no more runs than it has hidden tokens.
            assert!(evaluations(sampler, 1) <= n_steps.min(SEQ_LEN - 1) + 1);
        }
        // One a step; steps that reveal nothing are skipped.
        let even = scheduled(Network::PgmKnown, RevealSchedule::Even, n_steps);
        assert_eq!(evaluations(even, 10), n_steps.min(SEQ_LEN - 1));
        // Every step that finds something hidden, against those behind a change: 3 changes, the
        // first step and the last one at most.
        let every_step = evaluations(published(n_steps, PredictionUse::OneStep), 1);
        let after_changes = evaluations(published(n_steps, PredictionUse::UntilChanged), 1);
        assert!(
            after_changes <= every_step.min(5),
            "{after_changes} {every_step}"
        );
        let every_step = evaluations(published(n_steps, PredictionUse::OneStep), 1000);
        assert!(every_step == n_steps || every_step == n_steps + 1);
    }
    assert_eq!(evaluations(autoregressive(), 10), SEQ_LEN - 1);
    // All at once, and one by one.
    let bounded = |bound| {
        let schedule = RevealSchedule::EntropyBound(bound);
        ordered(Network::PgmKnown, schedule, 1, RevealOrder::Entropy)
    };
    assert_eq!(evaluations(bounded(9.0), 10), 1);
    assert_eq!(evaluations(bounded(0.0), 10), SEQ_LEN - 1);
}
