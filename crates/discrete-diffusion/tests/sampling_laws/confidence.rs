//! The order that rates positions by the tokens that were drawn for them.

use std::ops::Range;

use burn::tensor::Device;
use discrete_diffusion::samplers::{Context, RevealOrder, RevealSchedule};

use crate::experiment::{NETWORKS, Network, context, in_blocks, ordered, request, tokens_at};
use crate::laws::{
    ALL, Draw, Law, ONLY_BOS, at_temperature, certain, even, plain, rest, reveal, step,
};
use crate::orders::{entropy, first};
use crate::statistics::{assert_follows, assert_refutes};
use crate::tiny_denoiser::{Known, N_TOKENS};

/// How many of the hidden positions, which come in their order, are revealed.
type HowMany = dyn Fn(&Known, &[usize]) -> usize;

/// One step: a token is drawn for every hidden position of a block, and the positions whose tokens
/// `rating` gives the largest probabilities keep theirs.
fn confident(law: &Law, block: Range<usize>, n: &HowMany, draw: &Draw, rating: &Draw) -> Law {
    let mut next = Law::new();
    for (known, p) in law {
        let hidden: Vec<usize> = block.clone().filter(|&i| known[i].is_none()).collect();
        let mut drawn = Law::new();
        reveal(&mut drawn, known, *known, &hidden, draw, *p);
        for (state, q) in drawn {
            let confidence = |i: usize| rating(known, i)[state[i].expect("it was drawn")];
            let mut positions = hidden.clone();
            positions.sort_by(|&a, &b| confidence(b).total_cmp(&confidence(a)));
            positions.truncate(n(known, &positions));
            let mut kept = *known;
            positions.iter().for_each(|&i| kept[i] = state[i]);
            *next.entry(kept).or_insert(0.0) += q;
        }
    }
    next
}

/// From BOS alone, so many positions a step.
fn from_bos(counts: &[usize], draw: &Draw, rating: &Draw) -> Law {
    let next =
        |law: Law, &n: &usize| confident(&law, ALL, &move |_: &Known, _: &[usize]| n, draw, rating);
    counts.iter().fold(certain(ONLY_BOS), next)
}

fn by_largest(counts: &[usize], draw: &Draw) -> Law {
    let next = |law: Law, &n: &usize| step(&law, ALL, &first(RevealOrder::MaxProbability, n), draw);
    counts.iter().fold(certain(ONLY_BOS), next)
}

#[test]
fn confidence_and_the_largest_probability_have_laws_of_their_own() {
    for (n_steps, counts) in [(2, vec![2, 1]), (3, vec![1, 1, 1])] {
        let confidence = from_bos(&counts, &plain, &plain);
        let largest = by_largest(&counts, &plain);
        for network in NETWORKS {
            let drawn = |order| ordered(network, RevealSchedule::Even, n_steps, order).count(150);
            let drawn_first = drawn(RevealOrder::Confidence);
            assert_follows(&drawn_first, &confidence);
            assert_refutes(&drawn_first, &largest);
            assert_refutes(&drawn_first, &even(&counts));
            let predicted_first = drawn(RevealOrder::MaxProbability);
            assert_follows(&predicted_first, &largest);
            assert_refutes(&predicted_first, &confidence);
        }
    }
}

/// A token is drawn at the temperature and rated at temperature 1, as MaskGIT and LLaDA do.
#[test]
fn confidence_is_that_of_the_network_at_any_temperature() {
    let counts = [1, 1, 1];
    let draw = at_temperature(3.0);
    let sampler = ordered(
        Network::PgmKnown,
        RevealSchedule::Even,
        3,
        RevealOrder::Confidence,
    );
    let drawn = sampler.count_from(ONLY_BOS, tokens_at(3.0), 151);
    assert_follows(&drawn, &from_bos(&counts, &draw, &plain));
    assert_refutes(&drawn, &from_bos(&counts, &draw, &draw));
    assert_refutes(&drawn, &from_bos(&counts, &plain, &plain));
}

/// Likewise, a cut changes what is drawn and not what the drawn token is rated with.
#[test]
fn confidence_is_that_of_the_network_before_the_cuts() {
    let counts = [1, 1, 1];
    let nucleus = |known: &Known, position: usize| -> [f64; N_TOKENS] {
        let mut p = plain(known, position);
        let mut order = [0, 1, 2];
        order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
        let mut cumulative = 0.0;
        for token in order {
            if cumulative >= 0.6 {
                p[token] = 0.0;
            }
            cumulative += p[token];
        }
        let total: f64 = p.iter().sum();
        p.map(|p| p / total)
    };
    let tokens = tokens_at(1.0).with_top_p(0.6).expect("a probability");
    let sampler = ordered(
        Network::Mdlm,
        RevealSchedule::Even,
        3,
        RevealOrder::Confidence,
    );
    let drawn = sampler.count_from(ONLY_BOS, tokens, 152);
    assert_follows(&drawn, &from_bos(&counts, &nucleus, &plain));
    assert_refutes(&drawn, &from_bos(&counts, &nucleus, &nucleus));
}

#[test]
fn where_the_most_likely_token_is_drawn_the_two_are_one() {
    let device = Device::flex();
    let starts: [Known; 3] = [
        ONLY_BOS,
        [Some(0), None, None, Some(2)],
        [None, Some(1), None, None],
    ];
    let contexts: Vec<Context> = starts.into_iter().map(context).collect();
    let mut request = request(&contexts, 0, &device);
    for tokens in [tokens_at(0.0), tokens_at(1.0).with_top_k(1).expect("1")] {
        request.tokens = tokens;
        for network in NETWORKS {
            let [drawn, likely] =
                [RevealOrder::Confidence, RevealOrder::MaxProbability].map(|order| {
                    let sampler = ordered(network, RevealSchedule::Even, 3, order);
                    sampler.sample(&request).expect("samples")
                });
            assert_eq!(drawn, likely);
        }
    }
}

#[test]
fn the_entropy_bound_takes_the_drawn_tokens_in_order() {
    let bound = 0.7;
    let within = move |known: &Known, positions: &[usize]| {
        let fits = |n: &usize| {
            let entropies = positions[..*n].iter().map(|&i| entropy(known, i));
            let sum: f64 = entropies.clone().sum();
            sum - entropies.fold(0.0, f64::max) <= bound
        };
        (1..=positions.len()).filter(fits).max().unwrap_or(0)
    };
    let next = |law: Law, _| confident(&law, ALL, &within, &plain, &plain);
    let law = (0..3).fold(certain(ONLY_BOS), next);
    let schedule = RevealSchedule::EntropyBound(bound);
    let sampler = ordered(Network::PgmKnown, schedule, 1, RevealOrder::Confidence);
    let counts = sampler.count(153);
    assert_follows(&counts, &law);
    assert_refutes(&counts, &from_bos(&[1, 1, 1], &plain, &plain));
    assert_refutes(&counts, &from_bos(&[3], &plain, &plain));
}

/// LLaDA's sampler: blocks behind the prompt, in each the surest tokens first.
#[test]
fn confidence_decides_within_a_block() {
    // Positions 1 and 2 in two steps, then 3.
    let one = |_: &Known, _: &[usize]| 1;
    let law = (0..2).fold(certain(ONLY_BOS), |law, _| {
        confident(&law, 1..3, &one, &plain, &plain)
    });
    let law = step(&law, 3..4, &rest, &plain);
    for network in [Network::Mdlm, Network::PgmKnown] {
        let order = RevealOrder::Confidence;
        let counts = in_blocks(network, RevealSchedule::Even, 3, 2, order).count(154);
        assert_follows(&counts, &law);
        assert_refutes(&counts, &from_bos(&[1, 1, 1], &plain, &plain));
    }
}
