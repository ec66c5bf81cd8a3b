use std::collections::VecDeque;
use std::ops::Range;

use super::schedule::Step;
use super::{Context, RevealSchedule};

/// One step of one sequence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stage {
    /// The positions that can be revealed.
    pub block: Range<usize>,
    pub step: Step,
}

/// All steps of a sequence, block after block from the left.
///
/// The steps are spread over the blocks in proportion to what these hide; each gets one at least.
pub(super) fn stages(
    context: &Context,
    schedule: RevealSchedule,
    n_steps: usize,
    block_length: Option<usize>,
) -> VecDeque<Stage> {
    let blocks = blocks(context, block_length);
    let hidden: Vec<usize> = blocks.iter().map(|(_, n_hidden)| *n_hidden).collect();
    let shares = shares(&hidden, n_steps);
    let stages = blocks
        .into_iter()
        .zip(shares)
        .flat_map(|((block, n_hidden), n_steps)| {
            let steps = schedule.steps(n_hidden, n_steps).into_iter();
            steps.map(move |step| Stage {
                block: block.clone(),
                step,
            })
        });
    stages.collect()
}

/// The blocks of a sequence and how many positions of each are hidden, from the left.
///
/// The first one starts at the first hidden position, behind the prompt. Blocks of which everything
/// is known are left out.
pub(super) fn blocks(context: &Context, block_length: Option<usize>) -> Vec<(Range<usize>, usize)> {
    let seq_len = context.seq_len();
    let length = block_length.unwrap_or(seq_len).clamp(1, seq_len.max(1));
    let blocks = (context.prefix_len()..seq_len)
        .step_by(length)
        .map(|start| {
            let block = start..seq_len.min(start + length);
            let tokens = &context.tokens()[block.clone()];
            let n_hidden = tokens.iter().filter(|token| token.is_none()).count();
            (block, n_hidden)
        });
    blocks.filter(|(_, n_hidden)| *n_hidden > 0).collect()
}

/// How many of the steps each block gets: one, and every further step goes where a step has to
/// reveal the most positions (Adams' method of apportionment).
///
/// The shares are proportional to the hidden positions where they can be, and add up to `n_steps`
/// unless there are more blocks. With no more steps than hidden positions, no block gets more steps
/// than it has positions, so that none is lost.
fn shares(n_hidden: &[usize], n_steps: usize) -> Vec<usize> {
    let mut steps = vec![1; n_hidden.len()];
    if n_hidden.is_empty() {
        return steps;
    }
    for _ in n_hidden.len()..n_steps {
        let mut busiest = 0;
        for block in 1..steps.len() {
            // Positions a step, as fractions.
            if n_hidden[block] * steps[busiest] > n_hidden[busiest] * steps[block] {
                busiest = block;
            }
        }
        steps[busiest] += 1;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(context: &Context, n_steps: usize, block_length: usize) -> Vec<(Range<usize>, Step)> {
        stages(context, RevealSchedule::Even, n_steps, Some(block_length))
            .into_iter()
            .map(|stage| (stage.block, stage.step))
            .collect()
    }

    fn prompt(n_known: usize, seq_len: usize) -> Context {
        Context::new(seq_len, 0)
            .with_prompt(&vec![1; n_known - 1])
            .unwrap()
    }

    #[test]
    fn blocks_start_behind_the_prompt_and_no_step_is_lost() {
        // 128 tokens in 4 blocks of 32, one a step.
        for n_known in [1, 31, 32, 33, 100] {
            let stages = counts(&prompt(n_known, n_known + 128), 128, 32);
            assert_eq!(stages.len(), 128);
            for (i, (block, step)) in stages.into_iter().enumerate() {
                let start = n_known + i / 32 * 32;
                assert_eq!((block, step), (start..start + 32, Step::Exactly(1)));
            }
        }
        // Behind a prompt of 4, blocks of 3, 3 and 1; their 7 positions in 4 steps.
        let expected = [
            (4..7, Step::Exactly(2)),
            (4..7, Step::Exactly(1)),
            (7..10, Step::Exactly(3)),
            (10..11, Step::Exactly(1)),
        ];
        assert_eq!(counts(&prompt(4, 11), 4, 3), expected);
    }

    #[test]
    fn infilling_starts_at_the_first_hidden_position() {
        // Of positions 1 to 9, 3 to 6 are known: blocks 1..4, with 2 hidden ones, and 7..10.
        let mut context = Context::new(10, 0);
        for position in 3..7 {
            context = context.with_token(position, 1).unwrap();
        }
        let expected = [(1..4, Step::Exactly(2)), (7..10, Step::Exactly(3))];
        assert_eq!(counts(&context, 2, 3), expected);
        // One step a block, however few there are.
        assert_eq!(counts(&context, 1, 3), expected);
        let nothing_known = Context::from(vec![None; 4]);
        assert_eq!(counts(&nothing_known, 1, 9), [(0..4, Step::Exactly(4))]);
    }

    #[test]
    fn without_a_block_length_all_is_one_block() {
        let whole = stages(&prompt(3, 10), RevealSchedule::Even, 2, None);
        assert_eq!(whole.len(), 2);
        assert!(whole.iter().all(|stage| stage.block == (3..10)));
    }

    #[test]
    fn shares_are_proportional_where_they_can_be() {
        assert_eq!(shares(&[32, 32, 32, 16], 56), [16, 16, 16, 8]);
        assert_eq!(shares(&[32, 32, 32, 16], 112), [32, 32, 32, 16]);
        assert_eq!(shares(&[30, 1, 1], 4), [2, 1, 1]);
        assert_eq!(shares(&[2, 1], 6), [4, 2]);
        assert_eq!(shares(&[], 3), [0; 0]);
    }

    #[test]
    fn shares_add_up_and_none_is_lost() {
        for blocks in [
            vec![5],
            vec![3, 1, 4, 1, 5],
            vec![32; 7],
            vec![64, 1, 1, 63],
        ] {
            let n_hidden: usize = blocks.iter().sum();
            for n_steps in 1..=n_hidden {
                let shares = shares(&blocks, n_steps);
                assert_eq!(shares.iter().sum::<usize>(), n_steps.max(blocks.len()));
                let fits = |(share, n_hidden): (&usize, &usize)| (1..=*n_hidden).contains(share);
                assert!(
                    shares.iter().zip(&blocks).all(fits),
                    "{shares:?} of {blocks:?}"
                );
            }
        }
    }

    #[test]
    fn every_schedule_gets_its_share_anew_in_each_block() {
        let stages = stages(&prompt(3, 9), RevealSchedule::Binomial, 3, Some(4));
        // Blocks of 4 and 2 positions: 2 steps and 1, each with a last one for the rest.
        let steps: Vec<(Range<usize>, Step)> =
            stages.into_iter().map(|s| (s.block, s.step)).collect();
        let first = RevealSchedule::Binomial.steps(4, 2).into_iter();
        let second = RevealSchedule::Binomial.steps(2, 1).into_iter();
        let expected: Vec<(Range<usize>, Step)> = first
            .map(|step| (3..7, step))
            .chain(second.map(|step| (7..9, step)))
            .collect();
        assert_eq!(steps, expected);
        assert_eq!(steps.len(), 3 + 2);
    }

    #[test]
    fn nothing_to_draw_takes_no_step() {
        let known = Context::from(vec![Some(1); 4]);
        assert!(stages(&known, RevealSchedule::Binomial, 5, Some(2)).is_empty());
    }
}
