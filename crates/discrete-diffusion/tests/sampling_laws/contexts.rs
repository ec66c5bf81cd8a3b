//! What is known beforehand.

use burn::tensor::Device;
use discrete_diffusion::samplers::{
    Context, PredictionUse, Remasking, RevealOrder, RevealSchedule, SampleRequest,
};

use crate::experiment::{
    NETWORKS, Network, Sampler, autoregressive, context, in_blocks, ordered, published, request,
    scheduled, tokens_at,
};
use crate::laws::{
    ALL, BOS, Law, ancestral_from, as_many_as, binomial, certain, even_from, plain, rest, step,
};
use crate::statistics::{assert_follows, assert_refutes};
use crate::tiny_denoiser::{Known, MASK};

/// Infilling: 9 sequences are possible.
const SCATTERED: Known = [Some(BOS), None, Some(2), None];

fn diffusion_samplers() -> Vec<Sampler> {
    let remasking = RevealSchedule::Remasking(Remasking::Rescale(0.5));
    let mut samplers = vec![
        published(3, PredictionUse::OneStep),
        published(3, PredictionUse::UntilChanged),
    ];
    for network in NETWORKS {
        for schedule in [
            RevealSchedule::Even,
            RevealSchedule::Binomial,
            RevealSchedule::BinomialPublished,
            RevealSchedule::EntropyBound(0.5),
            remasking,
        ] {
            samplers.push(scheduled(network, schedule, 2));
            let order = RevealOrder::Confidence;
            samplers.push(ordered(network, schedule, 2, order));
            samplers.push(in_blocks(network, schedule, 2, 2, order));
            samplers.push(in_blocks(network, schedule, 4, 2, RevealOrder::Random));
        }
    }
    samplers
}

#[test]
fn known_tokens_anywhere_are_conditioned_on() {
    let start = || certain(SCATTERED);
    let ancestral = ancestral_from(start(), ALL, 2, &plain);
    // 3 tries in each step: one more than there is to draw.
    let tries = as_many_as(binomial(3, (1.0 - 1e-5) / 2.0));
    let published_binomial = (0..2).fold(start(), |law, _| step(&law, ALL, &tries, &plain));
    let published_binomial = step(&published_binomial, ALL, &rest, &plain);
    let one_by_one = even_from(start(), &[1, 1], &plain);
    let known = |schedule, n_steps| scheduled(Network::PgmKnown, schedule, n_steps);
    let cases: [(Sampler, &Law); 7] = [
        (
            scheduled(Network::Mdlm, RevealSchedule::Binomial, 2),
            &ancestral,
        ),
        (
            scheduled(Network::PgmNaive, RevealSchedule::Binomial, 2),
            &ancestral,
        ),
        (known(RevealSchedule::Binomial, 2), &ancestral),
        (
            known(RevealSchedule::BinomialPublished, 2),
            &published_binomial,
        ),
        (known(RevealSchedule::Even, 2), &one_by_one),
        (published(2, PredictionUse::OneStep), &ancestral),
        (published(2, PredictionUse::UntilChanged), &ancestral),
    ];
    // As if the third token were not seen.
    let blind =
        |known: &Known, position: usize| plain(&[known[0], known[1], None, known[3]], position);
    let blind = ancestral_from(start(), ALL, 2, &blind);
    for (i, (sampler, law)) in cases.into_iter().enumerate() {
        let counts = sampler.count_from(SCATTERED, tokens_at(1.0), 300 + i as u64);
        assert_follows(&counts, law);
        assert_refutes(&counts, &blind);
    }
}

#[test]
fn not_even_the_first_token_has_to_be_known() {
    let start: Known = [None, None, Some(0), Some(1)];
    for network in NETWORKS {
        let sampler = scheduled(network, RevealSchedule::Binomial, 2);
        let counts = sampler.count_from(start, tokens_at(1.0), 310);
        assert_follows(&counts, &ancestral_from(certain(start), ALL, 2, &plain));
    }
    let nothing: Known = [None; 4];
    let device = Device::flex();
    let contexts = vec![context(nothing); 5];
    for sampler in diffusion_samplers() {
        let samples = sampler.sample(&request(&contexts, 0, &device));
        assert_eq!(samples.expect("samples").sequences.len(), 5);
    }
}

/// Contexts of one call may differ, known tokens stay, and each sequence is what it would be alone.
#[test]
fn contexts_of_a_batch_are_independent() {
    let device = Device::flex();
    let kinds: [Known; 4] = [
        SCATTERED,
        [Some(0), None, None, None],
        [Some(0), Some(1), Some(2), Some(0)],
        [None, None, None, Some(2)],
    ];
    let contexts: Vec<Context> = (0..40).map(|i| context(kinds[i % 4])).collect();
    for sampler in diffusion_samplers() {
        let together = sampler.sample(&request(&contexts, 5, &device));
        let together = together.expect("samples").sequences;
        for (i, sequence) in together.iter().enumerate() {
            let alone = SampleRequest {
                first_sequence: i as u64,
                ..request(&contexts[i..=i], 5, &device)
            };
            let alone = sampler.sample(&alone).expect("samples").sequences;
            assert_eq!(sequence, &alone[0], "{sampler:?}");
            for (&token, known) in sequence.iter().zip(contexts[i].tokens()) {
                assert!(known.is_none_or(|known| known == token), "{sampler:?}");
                assert_ne!(token, MASK as u32, "{sampler:?}");
            }
        }
    }
}

#[test]
fn a_wholly_known_sequence_is_returned_unchanged() {
    let device = Device::flex();
    let contexts = [context([Some(0), Some(2), Some(1), Some(2)])];
    for sampler in diffusion_samplers().into_iter().chain([autoregressive()]) {
        let samples = sampler.sample(&request(&contexts, 0, &device));
        let samples = samples.expect("samples");
        assert_eq!(samples.sequences, [[0, 2, 1, 2]], "{sampler:?}");
        assert_eq!(samples.network_evaluations, 0, "{sampler:?}");
    }
}

#[test]
fn impossible_requests_are_refused_with_the_reason() {
    let device = Device::flex();
    let even = scheduled(Network::PgmKnown, RevealSchedule::Even, 2);
    let refusal = |sampler: Sampler, contexts: &[Context]| {
        let refused = sampler.sample(&request(contexts, 0, &device));
        refused.expect_err("a refusal").to_string()
    };
    assert_eq!(
        refusal(even, &[]),
        "`contexts` is 0, it has to be at least 1"
    );
    assert_eq!(
        refusal(even, &[Context::new(4, 0), Context::new(3, 0)]),
        "sequence 1 has 3 tokens, the first one 4; draw sequences of different lengths one after the other"
    );
    let masked = [context([Some(0), Some(MASK), None, None])];
    assert_eq!(
        refusal(even, &masked),
        "position 1 of sequence 0 is known to be token 3, which is MASK; leave the position unknown"
    );
    assert_eq!(
        refusal(autoregressive(), &[context(SCATTERED)]),
        "position 2 of sequence 0 is known, but position 1 before it is not; an autoregressive model continues a prompt, infilling takes a PGM or an MDLM"
    );
    assert_eq!(
        refusal(autoregressive(), &[context([None; 4])]),
        "position 0 of sequence 0 is unknown; an autoregressive model starts from BOS"
    );
    let no_steps = scheduled(Network::Mdlm, RevealSchedule::Binomial, 0);
    for sampler in [no_steps, published(0, PredictionUse::OneStep)] {
        assert_eq!(
            refusal(sampler, &[context(SCATTERED)]),
            "`n_steps` is 0, it has to be at least 1"
        );
    }
}
