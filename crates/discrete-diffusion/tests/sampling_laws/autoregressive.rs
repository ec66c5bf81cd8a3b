//! From left to right.

use burn::tensor::Device;
use discrete_diffusion::samplers::{AutoregressiveSampler, Context};

use crate::experiment::{Sampler, autoregressive, context, request, tokens_at};
use crate::laws::{BOS, Law, ONLY_BOS, chain_rule, even, plain};
use crate::statistics::{assert_follows, assert_refutes};
use crate::tiny_denoiser::{Known, SEQ_LEN};

const EOS: usize = 2;

fn stopping() -> Sampler {
    Sampler::Autoregressive(AutoregressiveSampler {
        eos_token: Some(EOS as u32),
    })
}

#[test]
fn autoregressive_sampling_follows_the_chain_rule() {
    let counts = autoregressive().count(200);
    assert_follows(&counts, &chain_rule(ONLY_BOS, &plain));
    assert_refutes(&counts, &even(&[1, 1, 1]));
}

#[test]
fn a_prompt_is_continued() {
    let prompt = [Some(BOS), Some(EOS), None, None];
    let counts = autoregressive().count_from(prompt, tokens_at(1.0), 201);
    assert_follows(&counts, &chain_rule(prompt, &plain));
    let other = [Some(BOS), Some(0), None, None];
    let forced: Law = chain_rule(other, &plain)
        .into_iter()
        .map(|([a, _, c, d], p)| ([a, Some(EOS), c, d], p))
        .collect();
    assert_refutes(&counts, &forced);
}

#[test]
fn sequences_end_with_the_first_eos_that_is_drawn() {
    let cut = |law: Law, start: usize| {
        let mut ended = Law::new();
        for (mut known, p) in law {
            let eos = (start..SEQ_LEN).find(|&i| known[i] == Some(EOS));
            known[eos.map_or(SEQ_LEN, |at| at + 1)..].fill(None);
            *ended.entry(known).or_insert(0.0) += p;
        }
        ended
    };
    let counts = stopping().count(202);
    assert_follows(&counts, &cut(chain_rule(ONLY_BOS, &plain), 1));
    // An EOS in the prompt ends nothing.
    let prompt = [Some(EOS), Some(EOS), None, None];
    let counts = stopping().count_from(prompt, tokens_at(1.0), 203);
    assert_follows(&counts, &cut(chain_rule(prompt, &plain), 2));
}

/// What is left of a sequence does not depend on when the others of its batch end, or on their prompts.
#[test]
fn prompts_and_ends_of_a_batch_are_independent() {
    let device = Device::flex();
    let prompts: [Known; 3] = [
        ONLY_BOS,
        [Some(0), Some(2), Some(1), None],
        [Some(2), Some(0), None, None],
    ];
    let contexts: Vec<Context> = (0..60).map(|i| context(prompts[i % 3])).collect();
    let together = request(&contexts, 9, &device);
    let together = stopping().sample(&together).expect("samples");
    for (i, sequence) in together.sequences.iter().enumerate() {
        let mut alone = request(&contexts[i..=i], 9, &device);
        alone.first_sequence = i as u64;
        let alone = stopping().sample(&alone).expect("samples");
        assert_eq!(sequence, &alone.sequences[0]);
        let expected_runs = sequence.len() - contexts[i].prefix_len();
        assert_eq!(alone.network_evaluations, expected_runs);
    }
    assert!(together.sequences.iter().any(|s| s.len() < SEQ_LEN));
    assert!(together.sequences.iter().any(|s| s.len() == SEQ_LEN));
}
