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
/// Blocks of which everything is known are left out. The steps are spread evenly over the others;
/// each gets one at least.
pub(super) fn stages(
    context: &Context,
    schedule: RevealSchedule,
    n_steps: usize,
    block_length: Option<usize>,
) -> VecDeque<Stage> {
    let seq_len = context.seq_len();
    let length = block_length.unwrap_or(seq_len).min(seq_len);
    let blocks: Vec<(Range<usize>, usize)> = (0..seq_len)
        .step_by(length)
        .map(|start| {
            let block = start..seq_len.min(start + length);
            let tokens = &context.tokens()[block.clone()];
            let n_hidden = tokens.iter().filter(|token| token.is_none()).count();
            (block, n_hidden)
        })
        .filter(|(_, n_hidden)| *n_hidden > 0)
        .collect();
    let n_blocks = blocks.len();
    let steps_until = |i: usize| i * n_steps / n_blocks;
    let stages = blocks
        .into_iter()
        .enumerate()
        .flat_map(|(i, (block, n_hidden))| {
            let n_steps = (steps_until(i + 1) - steps_until(i)).max(1);
            let steps = schedule.steps(n_hidden, n_steps).into_iter();
            steps.map(move |step| Stage {
                block: block.clone(),
                step,
            })
        });
    stages.collect()
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

    #[test]
    fn steps_are_spread_over_the_blocks_with_something_to_draw() {
        // Positions 1 to 9 in blocks of 3, of which 3 to 5 are known.
        let mut context = Context::new(10, 0);
        for position in 3..6 {
            context = context.with_token(position, 1).unwrap();
        }
        let expected = [
            (0..3, Step::Exactly(2)),
            (6..9, Step::Exactly(3)),
            (9..10, Step::Exactly(1)),
        ];
        assert_eq!(counts(&context, 3, 3), expected);
        // One step a block, however few there are.
        assert_eq!(counts(&context, 1, 3), expected);
        let whole = stages(&context, RevealSchedule::Even, 2, None);
        assert!(whole.iter().all(|stage| stage.block == (0..10)));
    }

    #[test]
    fn nothing_to_draw_takes_no_step() {
        let known = Context::from(vec![Some(1); 4]);
        assert!(stages(&known, RevealSchedule::Binomial, 5, Some(2)).is_empty());
    }
}
