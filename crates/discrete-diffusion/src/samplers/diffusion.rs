use std::collections::VecDeque;
use std::ops::ControlFlow;

use rand::RngExt;
use rayon::prelude::*;

use super::blocks::{Stage, blocks, stages};
use super::order::within_entropy;
use super::progress::Listener;
use super::request::at_least;
use super::row::{Row, binomial, random_subset};
use super::schedule::Step;
use super::transfer::read;
use super::{
    Context, Predictor, RevealOrder, RevealSchedule, SampleError, SampleRequest, Samples,
    SamplingProgress,
};
use crate::TokenSampler;

/// Reveals hidden positions step by step; what is revealed in a step is drawn independently, each
/// from what was known before.
///
/// The network does not run for a step that reveals nothing anywhere in the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiffusionSampler {
    /// How many positions a step reveals.
    pub schedule: RevealSchedule,
    /// Which positions.
    pub order: RevealOrder,
    /// Steps in all; [`RevealSchedule::EntropyBound`] finds its own.
    pub n_steps: usize,
    /// Reveals blocks of so many positions one after the other; all positions are one block if left
    /// out. In each sequence the first block starts at the first hidden position, behind the prompt.
    /// The steps are spread over the blocks in proportion to what these hide, one a block at least.
    ///
    /// # Reference
    /// Semi-autoregressive sampling: LLaDA (arXiv 2502.09992), section 2.4. There the blocks have to
    /// divide the length, and the steps the blocks.
    pub block_length: Option<usize>,
}

/// What a step does to a sequence.
#[derive(Default)]
struct Move {
    /// Positions the network is asked about, from the left.
    queries: Vec<usize>,
    choice: Choice,
    /// Positions that are hidden again.
    hide: Vec<usize>,
}

/// Which of the queries are revealed.
#[derive(Default)]
enum Choice {
    #[default]
    All,
    First(usize),
    WithinEntropy(f64),
}

impl DiffusionSampler {
    /// In random order, without blocks.
    pub fn new(schedule: RevealSchedule, n_steps: usize) -> Self {
        Self {
            schedule,
            order: RevealOrder::Random,
            n_steps,
            block_length: None,
        }
    }

    /// # Errors
    /// When a setting cannot be used.
    pub fn check(&self) -> Result<(), SampleError> {
        self.schedule.check()?;
        at_least("n_steps", self.n_steps, 1)?;
        at_least("block_length", self.block_length.unwrap_or(1), 1)
    }

    /// Blocks of a sequence in which something is hidden: the least number of steps.
    pub fn n_blocks(&self, context: &Context) -> usize {
        blocks(context, self.block_length).len()
    }

    /// Draws sequences; `progress` hears of the start and of every step, and stops the work by breaking. Steps
    /// that turn out to be superfluous are reported as done.
    ///
    /// # Errors
    /// When the request or a setting cannot be used, or the network's output cannot, or the work is stopped.
    pub fn sample(
        &self,
        predictor: &impl Predictor,
        request: &SampleRequest,
        progress: &mut dyn FnMut(SamplingProgress) -> ControlFlow<()>,
    ) -> Result<Samples, SampleError> {
        request.check()?;
        self.check()?;
        let mut rows = Row::from_request(request);
        let mut plans: Vec<VecDeque<Stage>> = request
            .contexts
            .iter()
            .map(|context| stages(context, self.schedule, self.n_steps, self.block_length))
            .collect();
        let n_steps = plans.iter().map(VecDeque::len).max().unwrap_or(0);
        let mut network_evaluations = 0;
        let mut n_left = n_steps;
        let mut listener = Listener::new(progress);
        listener.hear(0, n_steps, &rows)?;
        while n_left > 0 {
            let moves: Vec<Move> = rows
                .iter_mut()
                .zip(&mut plans)
                .map(|(row, plan)| self.next_move(row, plan))
                .collect();
            if moves.iter().any(|step| !step.queries.is_empty()) {
                self.reveal(predictor, request, &mut rows, &moves)?;
                network_evaluations += 1;
            }
            for (row, step) in rows.iter_mut().zip(&moves) {
                step.hide.iter().for_each(|&at| row.tokens[at] = None);
            }
            for (row, plan) in rows.iter().zip(&mut plans) {
                self.skip_finished(row, plan);
            }
            n_left = plans.iter().map(VecDeque::len).max().unwrap_or(0);
            listener.hear(n_steps - n_left, n_steps, &rows)?;
        }
        Ok(Samples {
            sequences: rows.into_iter().map(Row::into_tokens).collect(),
            network_evaluations,
        })
    }

    fn next_move(&self, row: &mut Row, plan: &mut VecDeque<Stage>) -> Move {
        let Some(Stage { block, step }) = plan.pop_front() else {
            return Move::default();
        };
        let hidden = row.hidden(block.clone());
        let n = match step {
            Step::Exactly(n) => n,
            Step::Each { reveal, .. } => binomial(hidden.len(), reveal, &mut row.reveal_rng),
            Step::Trials { n, probability } => binomial(n, probability, &mut row.reveal_rng),
            Step::WithinEntropy(_) | Step::Rest => hidden.len(),
        };
        let (queries, choice) = match (step, self.order) {
            (Step::WithinEntropy(bound), _) => (hidden, Choice::WithinEntropy(bound)),
            (_, RevealOrder::Random) => {
                let chosen = random_subset(hidden, n, &mut row.reveal_rng);
                (chosen, Choice::All)
            }
            _ if n == 0 => (Vec::new(), Choice::All),
            _ if n >= hidden.len() => (hidden, Choice::All),
            _ => (hidden, Choice::First(n)),
        };
        let hide = match step {
            Step::Each { hide, .. } if hide > 0.0 => {
                let mut drawn = row.drawn(block);
                drawn.retain(|_| row.reveal_rng.random::<f64>() < hide);
                drawn
            }
            _ => Vec::new(),
        };
        Move {
            queries,
            choice,
            hide,
        }
    }

    /// Draws tokens from one run of the network.
    fn reveal(
        &self,
        predictor: &impl Predictor,
        request: &SampleRequest,
        rows: &mut [Row],
        moves: &[Move],
    ) -> Result<(), SampleError> {
        let sequences: Vec<&[Option<u32>]> = rows.iter().map(|row| row.tokens.as_slice()).collect();
        let queries: Vec<Vec<usize>> = moves.iter().map(|step| step.queries.clone()).collect();
        let logits = predictor.logits(&sequences, &queries, request.device)?;
        let vocab_size = logits.dims()[1];
        let logits = read(logits)?;
        let mut logits = logits.chunks_exact(vocab_size);
        let predictions: Vec<Vec<(usize, &[f32])>> = moves
            .iter()
            .map(|step| step.queries.iter().copied().zip(&mut logits).collect())
            .collect();
        // Each row has random streams of its own, so that it does not matter which comes first.
        rows.par_iter_mut()
            .zip(moves)
            .zip(predictions)
            .try_for_each(|((row, step), predictions)| match step.choice {
                Choice::All => row.reveal(&predictions, request.tokens),
                _ => self.reveal_first(row, &step.choice, &predictions, request.tokens),
            })
    }

    /// Reveals those of the predicted positions that come first in the order.
    fn reveal_first(
        &self,
        row: &mut Row,
        choice: &Choice,
        predictions: &[(usize, &[f32])],
        tokens: TokenSampler,
    ) -> Result<(), SampleError> {
        let drawn = if self.order.rates_drawn_tokens() {
            Some(row.draw(predictions, tokens)?)
        } else {
            None
        };
        let mut candidates = predictions
            .par_iter()
            .enumerate()
            .map(|(index, (_, logits))| {
                let prediction = tokens.prediction(logits)?;
                let token = drawn.as_ref().map(|drawn| drawn[index]);
                Ok(self.order.rate(index, &prediction, token))
            })
            .collect::<Result<Vec<_>, SampleError>>()?;
        self.order.sort(&mut candidates, &mut row.reveal_rng);
        let n = match choice {
            Choice::All => candidates.len(),
            Choice::First(n) => *n,
            Choice::WithinEntropy(bound) => within_entropy(&candidates, *bound),
        };
        let mut chosen: Vec<usize> = candidates.iter().take(n).map(|c| c.index).collect();
        chosen.sort_unstable();
        if let Some(drawn) = drawn {
            for index in chosen {
                row.tokens[predictions[index].0] = Some(drawn[index]);
            }
            return Ok(());
        }
        let chosen: Vec<(usize, &[f32])> = chosen.iter().map(|&i| predictions[i]).collect();
        row.reveal(&chosen, tokens)
    }

    /// Drops the steps of a block in which nothing is hidden and nothing will be.
    fn skip_finished(&self, row: &Row, plan: &mut VecDeque<Stage>) {
        if self.schedule.hides_again() {
            return;
        }
        let is_finished = |stage: &Stage| row.hidden(stage.block.clone()).is_empty();
        while plan.front().is_some_and(is_finished) {
            plan.pop_front();
        }
    }
}
