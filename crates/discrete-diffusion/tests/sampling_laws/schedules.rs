//! How many positions a step reveals.

use std::ops::Range;

use burn::tensor::Device;
use discrete_diffusion::NoiseSchedule;
use discrete_diffusion::samplers::{PredictionUse, Remasking, RevealSchedule};

use crate::experiment::{NETWORKS, Network, context, published, request, scheduled};
use crate::laws::{
    ALL, Law, ONLY_BOS, ancestral, as_many_as, binomial, certain, even, plain, rest, reveal, step,
    subsets, times,
};
use crate::statistics::{assert_follows, assert_refutes};

/// MDLM's ancestral sampler, and the naive and the exact non-uniform one of a PGM.
#[test]
fn binomial_counts_have_one_law_for_all_networks() {
    for n_steps in [1, 2, 4] {
        for (i, network) in NETWORKS.into_iter().enumerate() {
            let sampler = scheduled(network, RevealSchedule::Binomial, n_steps);
            let counts = sampler.count(10 * n_steps as u64 + i as u64);
            assert_follows(&counts, &ancestral(n_steps));
            assert_refutes(&counts, &ancestral(if n_steps == 2 { 1 } else { 2 }));
        }
    }
}

#[test]
fn all_networks_draw_the_same_sequences() {
    let device = Device::flex();
    let contexts = vec![context(ONLY_BOS); 500];
    let request = request(&contexts, 3, &device);
    let [mdlm, naive, known] = NETWORKS.map(|network| {
        let sampler = scheduled(network, RevealSchedule::Binomial, 4);
        sampler.sample(&request).expect("samples")
    });
    assert_eq!(mdlm, naive);
    assert_eq!(mdlm, known);
}

#[test]
fn even_counts_follow_their_law() {
    // Positions that a step reveals, for 3 hidden ones: the published counts where the steps divide
    // the length of 4, floors for 3 steps.
    let laws = [
        (1, even(&[3])),
        (2, even(&[2, 1])),
        (3, even(&[1, 1, 1])),
        (4, even(&[1, 1, 1])),
    ];
    for (n_steps, law) in &laws {
        for network in [Network::Mdlm, Network::PgmKnown] {
            let sampler = scheduled(network, RevealSchedule::Even, *n_steps);
            let counts = sampler.count(30 + *n_steps as u64);
            assert_follows(&counts, law);
            let wrong = if *n_steps == 2 { 0 } else { 1 };
            assert_refutes(&counts, &laws[wrong].1);
            // Not even the order of the counts is free.
            if *n_steps == 2 {
                assert_refutes(&counts, &even(&[1, 2]));
                assert_refutes(&counts, &ancestral(2));
            }
        }
    }
}

/// Each step has `Binomial(4, (1 - 1e-5) / K)` tries, whatever is left.
#[test]
fn published_binomial_counts_follow_a_law_of_their_own() {
    let n_steps = 2;
    let tries = as_many_as(binomial(4, (1.0 - 1e-5) / n_steps as f64));
    let next = |law: Law, _| step(&law, ALL, &tries, &plain);
    let law = (0..n_steps).fold(certain(ONLY_BOS), next);
    let law = step(&law, ALL, &rest, &plain);
    let schedule = RevealSchedule::BinomialPublished;
    let counts = scheduled(Network::PgmKnown, schedule, n_steps).count_many(42);
    assert_follows(&counts, &law);
    assert_refutes(&counts, &ancestral(n_steps));
}

/// The number of positions that a binomial step reveals varies, in an even one it does not: the
/// two have different laws until every step reveals at most one position.
#[test]
fn all_schedules_agree_once_every_step_reveals_one_token() {
    let one_by_one = even(&[1, 1, 1]);
    let many_steps = 400;
    let limit = ancestral(many_steps);
    let distance: f64 = one_by_one.iter().map(|(x, p)| (p - limit[x]).abs()).sum();
    assert!(distance < 0.01, "the laws differ by {distance}");
    let one_position = RevealSchedule::EntropyBound(0.0);
    for sampler in [
        scheduled(Network::Mdlm, RevealSchedule::Binomial, many_steps),
        scheduled(Network::PgmKnown, RevealSchedule::Binomial, many_steps),
        scheduled(
            Network::PgmKnown,
            RevealSchedule::BinomialPublished,
            many_steps,
        ),
        scheduled(Network::PgmKnown, RevealSchedule::Even, 3),
        scheduled(Network::PgmKnown, one_position, 1),
    ] {
        assert_follows(&sampler.count(50), &one_by_one);
    }
}

/// Every token that is known but not given is hidden again with probability `sigma`, and a hidden position is
/// revealed with `(alpha(s) - (1 - sigma) alpha(t)) / (1 - alpha(t))`, both from what was known at `t`.
#[test]
fn remasking_follows_the_posterior_of_remdm() {
    let alpha = |t: f64| NoiseSchedule::default().alpha(t);
    let largest = |t: f64, s: f64| ((1.0 - alpha(s)) / alpha(t)).min(1.0);
    let law = |n_steps: usize, sigma: &dyn Fn(f64, f64) -> f64| {
        let law = (0..n_steps).fold(certain(ONLY_BOS), |law, i| {
            let (t, s) = times(i, n_steps);
            let sigma = sigma(t, s);
            let shown = (alpha(s) - (1.0 - sigma) * alpha(t)) / (1.0 - alpha(t));
            remask(&law, ALL, shown, sigma)
        });
        step(&law, ALL, &rest, &plain)
    };
    let n_steps = 4;
    let capped = law(n_steps, &|t, s| largest(t, s).min(0.4));
    let rescaled = law(n_steps, &|t, s| largest(t, s) * 0.6);
    let cap = RevealSchedule::Remasking(Remasking::Cap(0.4));
    let rescale = RevealSchedule::Remasking(Remasking::Rescale(0.6));
    let counts = scheduled(Network::Mdlm, cap, n_steps).count_many(60);
    assert_follows(&counts, &capped);
    assert_refutes(&counts, &ancestral(n_steps));
    assert_refutes(&counts, &law(n_steps, &|t, s| largest(t, s) * 0.4));
    let counts = scheduled(Network::PgmKnown, rescale, n_steps).count_many(61);
    assert_follows(&counts, &rescaled);
    assert_refutes(&counts, &ancestral(n_steps));
    assert_refutes(&counts, &law(n_steps, &|t, s| largest(t, s).min(0.6)));
}

/// Each hidden position of a block is revealed, and each drawn one hidden, independently of the others.
/// BOS is given.
pub fn remask(law: &Law, block: Range<usize>, shown: f64, hidden: f64) -> Law {
    let mut next = Law::new();
    for (known, p) in law {
        let positions = block.clone().filter(|&i| i > 0);
        let (known_positions, hidden_positions): (Vec<usize>, Vec<usize>) =
            positions.partition(|&i| known[i].is_some());
        for lost in subsets(&known_positions) {
            let mut state = *known;
            lost.iter().for_each(|&i| state[i] = None);
            let kept = (known_positions.len() - lost.len()) as i32;
            let p = p * hidden.powi(lost.len() as i32) * (1.0 - hidden).powi(kept);
            for revealed in subsets(&hidden_positions) {
                let left = (hidden_positions.len() - revealed.len()) as i32;
                let q = shown.powi(revealed.len() as i32) * (1.0 - shown).powi(left);
                reveal(&mut next, known, state, &revealed, &plain, p * q);
            }
        }
    }
    next
}

#[test]
fn the_published_draw_over_the_vocabulary_has_the_law_of_the_sparse_one() {
    for prediction_use in [PredictionUse::OneStep, PredictionUse::UntilChanged] {
        for n_steps in [1, 3] {
            let counts = published(n_steps, prediction_use).count(70 + n_steps as u64);
            assert_follows(&counts, &ancestral(n_steps));
            assert_refutes(&counts, &ancestral(2));
        }
    }
}
