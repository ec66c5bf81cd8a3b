//! What is heard while sequences are drawn.

use std::ops::ControlFlow;

use burn::tensor::Device;
use discrete_diffusion::samplers::{Context, RevealSchedule, SampleError};

use crate::experiment::{Sampler, context, request};
use crate::laws::ONLY_BOS;
use crate::runs::all_samplers;
use crate::tiny_denoiser::Known;

/// What was known of every sequence, at each step heard of.
type States = Vec<Vec<Vec<Option<u32>>>>;

const PROMPT: Known = [Some(0), Some(2), None, None];

/// Everything that is heard, and what is drawn in the end.
fn listen(sampler: Sampler, contexts: &[Context]) -> (States, Vec<Vec<u32>>) {
    let device = Device::flex();
    let mut states = States::new();
    let samples = sampler.sample_with(&request(contexts, 3, &device), &mut |progress| {
        assert_eq!(progress.n_sequences(), contexts.len());
        let sequences = (0..contexts.len()).map(|i| progress.sequence(i).to_vec());
        states.push(sequences.collect());
        ControlFlow::Continue(())
    });
    (states, samples.expect("samples").sequences)
}

fn hides_again(sampler: Sampler) -> bool {
    let schedule = |schedule| matches!(schedule, RevealSchedule::Remasking(_));
    matches!(sampler, Sampler::Diffusion(_, diffusion) if schedule(diffusion.schedule))
}

#[test]
fn progress_goes_from_nothing_to_the_number_of_steps() {
    let device = Device::flex();
    let contexts = vec![context(ONLY_BOS); 3];
    for sampler in all_samplers() {
        let mut heard = Vec::new();
        let request = request(&contexts, 0, &device);
        sampler
            .sample_with(&request, &mut |progress| {
                heard.push((progress.n_done, progress.n_steps));
                ControlFlow::Continue(())
            })
            .expect("samples");
        let all = heard[0].1;
        assert_eq!(heard[0].0, 0);
        assert!(heard.iter().all(|step| step.1 == all), "{heard:?}");
        assert!(heard.is_sorted_by(|a, b| a.0 < b.0), "{heard:?}");
        assert_eq!(heard.last(), Some(&(all, all)), "{sampler:?}");
    }
}

#[test]
fn each_position_is_revealed_once_and_all_of_them_are_the_sequence() {
    let contexts: Vec<Context> = (0..40)
        .map(|i| context(if i % 2 == 0 { ONLY_BOS } else { PROMPT }))
        .collect();
    for sampler in all_samplers() {
        let (states, sequences) = listen(sampler, &contexts);
        for (i, sequence) in sequences.iter().enumerate() {
            assert_eq!(states[0][i], contexts[i].tokens(), "{sampler:?}");
            let last = states.last().expect("the last step");
            let known: Vec<u32> = last[i].iter().flatten().copied().collect();
            assert_eq!(known, *sequence, "{sampler:?}");
            if hides_again(sampler) {
                continue;
            }
            for (position, token) in sequence.iter().enumerate() {
                let shown: Vec<Option<u32>> = states.iter().map(|s| s[i][position]).collect();
                let revealed = shown.iter().position(Option::is_some).expect("a token");
                let stays = |shown: &Option<u32>| *shown == Some(*token);
                assert!(shown[revealed..].iter().all(stays), "{sampler:?} {shown:?}");
            }
        }
    }
}

#[test]
fn remasking_shows_tokens_that_are_hidden_again() {
    let contexts = vec![context(ONLY_BOS); 200];
    for sampler in all_samplers().into_iter().filter(|s| hides_again(*s)) {
        let (states, _) = listen(sampler, &contexts);
        let is_hidden_again = |pair: &[Vec<Vec<Option<u32>>>]| {
            let (before, after) = (pair[0].concat(), pair[1].concat());
            before
                .iter()
                .zip(after)
                .any(|(b, a)| b.is_some() && a.is_none())
        };
        assert!(states.windows(2).any(is_hidden_again), "{sampler:?}");
    }
}

#[test]
fn the_work_stops_within_a_step() {
    let device = Device::flex();
    let contexts = vec![context(ONLY_BOS); 2];
    for sampler in all_samplers() {
        for n_heard in 1..=2 {
            let mut heard = 0;
            let request = request(&contexts, 0, &device);
            let stopped = sampler.sample_with(&request, &mut |_| {
                heard += 1;
                if heard < n_heard {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            assert_eq!(stopped, Err(SampleError::Stopped), "{sampler:?}");
            assert_eq!(heard, n_heard, "{sampler:?} goes on");
        }
    }
}
