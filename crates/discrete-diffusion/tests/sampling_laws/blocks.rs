//! Blocks, one after the other.

use std::ops::{ControlFlow, Range};

use burn::tensor::{Device, Tensor};
use discrete_diffusion::NoiseSchedule;
use discrete_diffusion::samplers::{
    Context, DiffusionSampler, KnownPredictor, MaskedPredictor, PartitionPredictor, Predictor,
    Remasking, RevealOrder, RevealSchedule, SampleError, SampleRequest, SamplingProgress,
};

use crate::experiment::{NETWORKS, Network, context, in_blocks, request, tokens_at};
use crate::laws::{
    ALL, Law, ONLY_BOS, ancestral_from, as_many_as, binomial, certain, chain_rule, even, even_from,
    exactly, plain, rest, step, times,
};
use crate::orders::first;
use crate::schedules::remask;
use crate::statistics::{assert_follows, assert_refutes};
use crate::tiny_denoiser::{Known, MASK, TinyDenoiser};

/// All of each block at once.
fn at_once(start: Known, blocks: &[(usize, usize)]) -> Law {
    let next = |law: Law, &(from, to): &(usize, usize)| step(&law, from..to, &rest, &plain);
    blocks.iter().fold(certain(start), next)
}

#[test]
fn blocks_start_at_the_first_hidden_position() {
    let prompt: Known = [Some(2), Some(0), None, None];
    let infill: Known = [Some(0), None, Some(2), None];
    let later: Known = [None, Some(2), None, None];
    // From what is known: block length, steps, the law, and those of other blocks.
    let cases = [
        (
            ONLY_BOS,
            (2, 2),
            at_once(ONLY_BOS, &[(1, 3), (3, 4)]),
            vec![at_once(ONLY_BOS, &[(1, 2), (2, 4)]), even(&[2, 1])],
        ),
        (
            prompt,
            (3, 1),
            at_once(prompt, &[(2, 4)]),
            vec![at_once(prompt, &[(2, 3), (3, 4)])],
        ),
        (
            prompt,
            (1, 2),
            at_once(prompt, &[(2, 3), (3, 4)]),
            vec![at_once(prompt, &[(2, 4)])],
        ),
        // Infilling: what is known in between does not move the blocks.
        (
            infill,
            (2, 2),
            at_once(infill, &[(1, 2), (3, 4)]),
            vec![at_once(infill, &[(1, 4)])],
        ),
        (
            infill,
            (3, 1),
            at_once(infill, &[(1, 4)]),
            vec![at_once(infill, &[(1, 2), (3, 4)])],
        ),
        (
            later,
            (2, 2),
            at_once(later, &[(0, 1), (2, 4)]),
            vec![
                at_once(later, &[(0, 3), (3, 4)]),
                at_once(later, &[(0, 1), (2, 3), (3, 4)]),
            ],
        ),
        // More blocks than steps: a step each.
        (
            ONLY_BOS,
            (1, 1),
            chain_rule(ONLY_BOS, &plain),
            vec![even(&[1, 1, 1])],
        ),
    ];
    for (i, (start, (length, n_steps), law, wrong)) in cases.into_iter().enumerate() {
        for network in NETWORKS {
            let even = RevealSchedule::Even;
            let sampler = in_blocks(network, even, n_steps, length, RevealOrder::Random);
            let counts = sampler.count_from(start, tokens_at(1.0), 500 + i as u64);
            assert_follows(&counts, &law);
            wrong
                .iter()
                .for_each(|wrong| assert_refutes(&counts, wrong));
        }
    }
}

#[test]
fn steps_are_shared_in_proportion_to_what_a_block_hides() {
    let order = RevealOrder::Random;
    let last = |law: Law| step(&law, 3..4, &rest, &plain);
    // 3 steps: two of them for positions 1 and 2.
    let one = exactly(1);
    let pair = (0..2).fold(certain(ONLY_BOS), |law, _| step(&law, 1..3, &one, &plain));
    // 4 steps: three of them, in each of which a position is revealed or not.
    let ancestral = |n_steps| last(ancestral_from(certain(ONLY_BOS), 1..3, n_steps, &plain));
    // The same with the tries of the published code: one more than there is to draw.
    let tries = |n_steps: usize| {
        let tries = as_many_as(binomial(3, (1.0 - 1e-5) / n_steps as f64));
        let law = (0..n_steps).fold(certain(ONLY_BOS), |law, _| step(&law, 1..3, &tries, &plain));
        last(step(&law, 1..3, &rest, &plain))
    };
    for network in [Network::Mdlm, Network::PgmKnown] {
        let counts = in_blocks(network, RevealSchedule::Even, 3, 2, order).count(510);
        assert_follows(&counts, &last(pair.clone()));
        assert_refutes(&counts, &at_once(ONLY_BOS, &[(1, 3), (3, 4)]));
        assert_refutes(&counts, &even(&[1, 1, 1]));
    }
    let binomial = RevealSchedule::Binomial;
    let counts = in_blocks(Network::Mdlm, binomial, 4, 2, order).count_many(511);
    assert_follows(&counts, &ancestral(3));
    // Two steps for each block.
    assert_refutes(&counts, &ancestral(2));
    let published = RevealSchedule::BinomialPublished;
    let counts = in_blocks(Network::PgmKnown, published, 4, 2, order).count_many(512);
    assert_follows(&counts, &tries(3));
    assert_refutes(&counts, &tries(2));
}

#[test]
fn the_order_holds_within_a_block() {
    let best = RevealOrder::MaxProbability;
    let law = step(&certain(ONLY_BOS), 1..3, &first(best, 1), &plain);
    let law = step(&law, 1..3, &rest, &plain);
    let law = step(&law, 3..4, &rest, &plain);
    let random = even_from(certain(ONLY_BOS), &[1, 1, 1], &plain);
    for network in [Network::Mdlm, Network::PgmKnown] {
        let counts = in_blocks(network, RevealSchedule::Even, 3, 2, best).count(520);
        assert_follows(&counts, &law);
        assert_refutes(&counts, &random);
        assert_refutes(&counts, &at_once(ONLY_BOS, &[(1, 3), (3, 4)]));
    }
}

/// Remasking hides tokens of the block that is being drawn, not those of blocks before it.
#[test]
fn a_block_that_is_done_stays_as_it_is() {
    let alpha = |t: f64| NoiseSchedule::default().alpha(t);
    let remasked = |law: Law, block: Range<usize>, n_steps: usize| {
        let law = (0..n_steps).fold(law, |law, i| {
            let (t, s) = times(i, n_steps);
            let sigma = ((1.0 - alpha(s)) / alpha(t)).min(1.0);
            let shown = (alpha(s) - (1.0 - sigma) * alpha(t)) / (1.0 - alpha(t));
            remask(&law, block.clone(), shown, sigma)
        });
        step(&law, block, &rest, &plain)
    };
    // 8 steps, 5 of them for positions 1 and 2.
    let first = remasked(certain(ONLY_BOS), 1..3, 5);
    let schedule = RevealSchedule::Remasking(Remasking::Rescale(1.0));
    for network in [Network::Mdlm, Network::PgmKnown] {
        let counts = in_blocks(network, schedule, 8, 2, RevealOrder::Random).count(530);
        assert_follows(&counts, &remasked(first.clone(), 3..4, 3));
        assert_refutes(&counts, &remasked(first.clone(), ALL, 3));
    }
}

/// Who does not listen.
fn unheard(_: SamplingProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Finds two tokens equally likely, and knows no length.
struct Undecided;

impl Predictor for Undecided {
    fn features(
        &self,
        _: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError> {
        let n_positions = positions.iter().map(Vec::len).sum();
        Ok(Tensor::zeros([n_positions, 2], device))
    }

    fn project(&self, features: Tensor<2>) -> Tensor<2> {
        features
    }
}

#[test]
fn no_step_is_lost() {
    let device = Device::flex();
    let evaluations = |prompts: &[usize], n_steps, block_length, order| {
        let contexts: Vec<Context> = prompts
            .iter()
            .map(|&n_known| {
                let tokens = (0..161).map(|i| (i < n_known).then_some(1));
                Context::from(tokens.collect::<Vec<_>>())
            })
            .collect();
        let sampler = DiffusionSampler {
            order,
            block_length,
            ..DiffusionSampler::new(RevealSchedule::Even, n_steps)
        };
        let samples = sampler.sample(&Undecided, &request(&contexts, 0, &device), &mut unheard);
        samples.expect("samples").network_evaluations
    };
    for order in [RevealOrder::Random, RevealOrder::Confidence] {
        // 33 known, 128 to draw.
        for block_length in [None, Some(1), Some(7), Some(32), Some(100), Some(999)] {
            assert_eq!(evaluations(&[33], 128, block_length, order), 128);
        }
        for n_steps in [6, 40, 50, 97, 127] {
            assert_eq!(evaluations(&[33], n_steps, Some(25), order), n_steps);
        }
        // No more than there is to draw, and no fewer than blocks.
        assert_eq!(evaluations(&[33], 500, Some(32), order), 128);
        assert_eq!(evaluations(&[158], 128, Some(32), order), 3);
        assert_eq!(evaluations(&[33], 3, Some(32), order), 4);
        // Prompts of a batch may differ: each sequence takes the steps that it would take alone.
        assert_eq!(evaluations(&[100, 33, 161, 1], 61, Some(32), order), 61);
        assert_eq!(evaluations(&[100, 158], 128, Some(32), order), 61);
    }
}

/// The network runs over the sequences of which a step reveals something.
#[test]
fn complete_sequences_leave_the_batch() {
    let device = Device::flex();
    let contexts: Vec<Context> = [
        ONLY_BOS,
        [Some(0), Some(1), Some(2), None],
        [Some(0), Some(1), Some(2), Some(0)],
    ]
    .into_iter()
    .map(context)
    .collect();
    let request: SampleRequest = request(&contexts, 0, &device);
    let sampler = DiffusionSampler::new(RevealSchedule::Even, 3);
    for network in NETWORKS {
        let tiny = TinyDenoiser::default();
        let denoiser = &tiny;
        let mask_token = MASK as u32;
        let masked = MaskedPredictor {
            denoiser,
            mask_token,
        };
        let samples = match network {
            Network::Mdlm => sampler.sample(&masked, &request, &mut unheard),
            Network::PgmNaive => {
                sampler.sample(&PartitionPredictor { denoiser }, &request, &mut unheard)
            }
            Network::PgmKnown => {
                sampler.sample(&KnownPredictor { denoiser }, &request, &mut unheard)
            }
        };
        assert_eq!(samples.expect("samples").network_evaluations, 3);
        // Three tokens of the first sequence, one of the second.
        assert_eq!(tiny.n_sequences.get(), 3 + 1, "{network:?}");
    }
}
