//! Which positions a step reveals.

use discrete_diffusion::samplers::{RevealOrder, RevealSchedule};

use crate::experiment::{NETWORKS, Network, ordered, tokens_at};
use crate::laws::{
    ALL, ONLY_BOS, ancestral, at_temperature, binomial, certain, even, even_from, plain, rest,
    step, times,
};
use crate::statistics::{assert_follows, assert_refutes};
use crate::tiny_denoiser::{Known, probabilities};

/// Those that look at the prediction alone; [`crate::confidence`] has the one that looks at the draw.
const LOOKING: [RevealOrder; 3] = [
    RevealOrder::MaxProbability,
    RevealOrder::Margin,
    RevealOrder::Entropy,
];

/// Hidden positions, the first to be revealed first.
fn ranked(order: RevealOrder, known: &Known, hidden: &[usize]) -> Vec<usize> {
    let score = |position: usize| {
        let mut p = probabilities(known, position, 1.0);
        p.sort_by(|a, b| b.total_cmp(a));
        match order {
            RevealOrder::Random | RevealOrder::Confidence => {
                unreachable!("{order:?} has no score before the draw")
            }
            RevealOrder::MaxProbability => p[0],
            RevealOrder::Margin => p[0] - p[1],
            RevealOrder::Entropy => -entropy(known, position),
        }
    };
    let mut positions = hidden.to_vec();
    positions.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    positions
}

pub fn entropy(known: &Known, position: usize) -> f64 {
    let p = probabilities(known, position, 1.0);
    p.iter().map(|p| -p * p.ln()).sum()
}

/// The first ones of an order.
pub fn first(order: RevealOrder, n: usize) -> impl Fn(&Known, &[usize]) -> Vec<(Vec<usize>, f64)> {
    move |known, hidden| {
        let mut positions = ranked(order, known, hidden);
        positions.truncate(n);
        vec![(positions, 1.0)]
    }
}

#[test]
fn orders_follow_their_laws() {
    // 2 positions, then 1.
    let law = |order| {
        let law = step(&certain(ONLY_BOS), ALL, &first(order, 2), &plain);
        step(&law, ALL, &first(order, 1), &plain)
    };
    for (i, order) in LOOKING.into_iter().enumerate() {
        for network in NETWORKS {
            let sampler = ordered(network, RevealSchedule::Even, 2, order);
            let counts = sampler.count(100 + i as u64);
            assert_follows(&counts, &law(order));
            assert_refutes(&counts, &even(&[2, 1]));
        }
    }
}

/// The order looks at what the network predicts, not at what is made of it for the draw.
#[test]
fn the_temperature_of_the_draw_does_not_change_the_order() {
    let order = RevealOrder::MaxProbability;
    let draw = at_temperature(1.5);
    let law = (0..3).fold(certain(ONLY_BOS), |law, _| {
        step(&law, ALL, &first(order, 1), &draw)
    });
    let sampler = ordered(Network::PgmKnown, RevealSchedule::Even, 3, order);
    let counts = sampler.count_from(ONLY_BOS, tokens_at(1.5), 110);
    assert_follows(&counts, &law);
    let random = even_from(certain(ONLY_BOS), &[1, 1, 1], &draw);
    assert_refutes(&counts, &random);
}

/// The number is binomial, and the best positions are taken.
#[test]
fn orders_combine_with_binomial_counts() {
    let order = RevealOrder::Margin;
    let law = (0..2).fold(certain(ONLY_BOS), |law, i| {
        let (t, s) = times(i, 2);
        let choices = move |known: &Known, hidden: &[usize]| {
            let positions = ranked(order, known, hidden);
            let counts = binomial(hidden.len(), (t - s) / t);
            let take = |(n, p): (usize, &f64)| (positions[..n].to_vec(), *p);
            counts.iter().enumerate().map(take).collect()
        };
        step(&law, ALL, &choices, &plain)
    });
    let law = step(&law, ALL, &rest, &plain);
    let counts = ordered(Network::PgmKnown, RevealSchedule::Binomial, 2, order).count(120);
    assert_follows(&counts, &law);
    assert_refutes(&counts, &ancestral(2));
}

/// The longest beginning of the order whose entropies, less the largest, sum up to the bound at most.
fn within(bound: f64, order: RevealOrder) -> impl Fn(&Known, &[usize]) -> Vec<(Vec<usize>, f64)> {
    move |known, hidden| {
        let positions = ranked(order, known, hidden);
        let fits = |n: &usize| {
            let entropies = positions[..*n].iter().map(|&i| entropy(known, i));
            let sum: f64 = entropies.clone().sum();
            sum - entropies.fold(0.0, f64::max) <= bound
        };
        let n = (1..=hidden.len()).filter(fits).max().unwrap_or(0);
        vec![(positions[..n].to_vec(), 1.0)]
    }
}

#[test]
fn the_entropy_bound_follows_its_law() {
    let law = |bound, order| {
        (0..3).fold(certain(ONLY_BOS), |law, _| {
            step(&law, ALL, &within(bound, order), &plain)
        })
    };
    // One position a step, all at once, and in between.
    let one = law(0.0, RevealOrder::Entropy);
    let all = law(9.0, RevealOrder::Entropy);
    for (bound, wrong) in [(0.0, &all), (0.7, &all), (0.7, &one), (9.0, &one)] {
        for order in [RevealOrder::Entropy, RevealOrder::MaxProbability] {
            let schedule = RevealSchedule::EntropyBound(bound);
            let counts = ordered(Network::PgmKnown, schedule, 1, order).count(130);
            assert_follows(&counts, &law(bound, order));
            assert_refutes(&counts, wrong);
        }
    }
}
