//! Laws of sequences, enumerated.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::tiny_denoiser::{Known, N_TOKENS, SEQ_LEN, probabilities};

/// Probabilities of complete sequences, or of what is known of them on the way.
pub type Law = BTreeMap<Known, f64>;
/// The distribution of a token.
pub type Draw = dyn Fn(&Known, usize) -> [f64; N_TOKENS];
/// Sets of positions that a step reveals out of the hidden ones, and their probabilities.
pub type Choices = dyn Fn(&Known, &[usize]) -> Vec<(Vec<usize>, f64)>;

pub const BOS: usize = 1;
pub const ONLY_BOS: Known = [Some(BOS), None, None, None];
pub const ALL: Range<usize> = 0..SEQ_LEN;

/// Draws as predicted.
pub fn plain(known: &Known, position: usize) -> [f64; N_TOKENS] {
    probabilities(known, position, 1.0)
}

pub fn at_temperature(temperature: f64) -> impl Fn(&Known, usize) -> [f64; N_TOKENS] {
    move |known, position| probabilities(known, position, temperature)
}

pub fn certain(state: Known) -> Law {
    Law::from([(state, 1.0)])
}

/// One step: positions of a block are chosen, and drawn independently from what is known.
pub fn step(law: &Law, block: Range<usize>, choices: &Choices, draw: &Draw) -> Law {
    let mut next = Law::new();
    for (known, p) in law {
        let hidden: Vec<usize> = block.clone().filter(|&i| known[i].is_none()).collect();
        for (revealed, q) in choices(known, &hidden) {
            reveal(&mut next, known, *known, &revealed, draw, p * q);
        }
    }
    next
}

/// Each hidden position with a probability, independently.
pub fn each(probability: f64) -> impl Fn(&Known, &[usize]) -> Vec<(Vec<usize>, f64)> {
    move |_, hidden| {
        let weight = |revealed: Vec<usize>| {
            let n_kept = (hidden.len() - revealed.len()) as i32;
            let p = probability.powi(revealed.len() as i32) * (1.0 - probability).powi(n_kept);
            (revealed, p)
        };
        subsets(hidden).map(weight).collect()
    }
}

/// As many as a distribution says, capped, all sets of a size equally likely.
pub fn as_many_as(counts: Vec<f64>) -> impl Fn(&Known, &[usize]) -> Vec<(Vec<usize>, f64)> {
    move |_, hidden| {
        let mut chosen = Vec::new();
        for (n, p) in counts.iter().enumerate() {
            let sets: Vec<_> = subsets(hidden)
                .filter(|set| set.len() == n.min(hidden.len()))
                .collect();
            let q = p / sets.len() as f64;
            chosen.extend(sets.into_iter().map(|set| (set, q)));
        }
        chosen
    }
}

/// `n`, all sets equally likely.
pub fn exactly(n: usize) -> impl Fn(&Known, &[usize]) -> Vec<(Vec<usize>, f64)> {
    let mut counts = vec![0.0; n + 1];
    counts[n] = 1.0;
    as_many_as(counts)
}

/// Everything.
pub fn rest(_: &Known, hidden: &[usize]) -> Vec<(Vec<usize>, f64)> {
    vec![(hidden.to_vec(), 1.0)]
}

/// `Binomial(n, p)` as a list.
pub fn binomial(n: usize, p: f64) -> Vec<f64> {
    let choose = |k: usize| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
    (0..=n)
        .map(|k| choose(k) * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32))
        .collect()
}

/// The times of a step, out of `n_steps` from 1 to 1e-5.
pub fn times(i: usize, n_steps: usize) -> (f64, f64) {
    let time = |i: usize| 1.0 - i as f64 * (1.0 - 1e-5) / n_steps as f64;
    (time(i), time(i + 1))
}

/// Between the times `t` and `s` each hidden position of a block is revealed with probability
/// `(t - s) / t`; a last step reveals the rest.
pub fn ancestral_from(start: Law, block: Range<usize>, n_steps: usize, draw: &Draw) -> Law {
    let law = (0..n_steps).fold(start, |law, i| {
        let (t, s) = times(i, n_steps);
        step(&law, block.clone(), &each((t - s) / t), draw)
    });
    step(&law, block, &rest, draw)
}

pub fn ancestral(n_steps: usize) -> Law {
    ancestral_from(certain(ONLY_BOS), ALL, n_steps, &plain)
}

/// Fixed numbers of positions.
pub fn even_from(start: Law, counts: &[usize], draw: &Draw) -> Law {
    let next = |law, &n: &usize| step(&law, ALL, &exactly(n), draw);
    counts.iter().fold(start, next)
}

pub fn even(counts: &[usize]) -> Law {
    even_from(certain(ONLY_BOS), counts, &plain)
}

/// From the left.
pub fn chain_rule(start: Known, draw: &Draw) -> Law {
    (0..SEQ_LEN).fold(certain(start), |law, i| step(&law, i..i + 1, &rest, draw))
}

/// Adds what follows when these positions are drawn independently, each from `known`, and put into `state`.
pub fn reveal(
    law: &mut Law,
    known: &Known,
    state: Known,
    positions: &[usize],
    draw: &Draw,
    p: f64,
) {
    if p == 0.0 {
        return;
    }
    let mut states = vec![(state, p)];
    for &position in positions {
        let conditional = draw(known, position);
        states = states
            .into_iter()
            .flat_map(|(state, p)| {
                (0..N_TOKENS).map(move |token| {
                    let mut state = state;
                    state[position] = Some(token);
                    (state, p * conditional[token])
                })
            })
            .collect();
    }
    for (state, p) in states {
        *law.entry(state).or_insert(0.0) += p;
    }
}

/// All sets of some positions.
pub fn subsets(positions: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    (0..1usize << positions.len()).map(|set| {
        let members = positions.iter().enumerate();
        members
            .filter(|(i, _)| set >> i & 1 == 1)
            .map(|(_, &position)| position)
            .collect()
    })
}
