//! What a student is to predict in self-distillation through time.
//!
//! The teacher goes `n` small steps of ancestral sampling from a sequence with hidden positions, and the student
//! learns to predict in one pass what the teacher predicted along the way: for each hidden position, the teacher's
//! distribution at the step in which the position was revealed, or at the last step.
//!
//! *Whether* a position is revealed does not depend on any token, so that all reveals are drawn beforehand, and each
//! hidden position is asked about exactly once: `n` runs of the network, but logits of no more positions than one
//! full prediction has. They are handed over some positions at a time and not kept.
//!
//! # Reference
//! SDTT (arXiv 2410.21035).

use burn::tensor::{Device, Tensor};
use rand::{Rng, RngExt};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::random_streams::{Stream, stream};
use crate::samplers::{Predictor, SampleError, read};
use crate::{NoiseSchedule, TokenSampler};

/// A sequence of which some positions are hidden, at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct HiddenSequence {
    /// What is known, `None` where hidden.
    pub tokens: Vec<Option<u32>>,
    /// The diffusion time `t` of the hidden positions, in `(0, 1]`.
    pub time: f64,
    /// Names its random streams.
    pub index: u64,
}

impl HiddenSequence {
    /// Hidden positions, from the left.
    pub fn hidden(&self) -> Vec<usize> {
        let positions = 0..self.tokens.len();
        positions.filter(|&i| self.tokens[i].is_none()).collect()
    }
}

/// The times at which the teacher's steps begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherTimes {
    /// `t - k dt`.
    #[default]
    Even,
    /// `(1 - k / (n - 1)) t + (1 - t) (t - n dt)`, a fault of the released code of SDTT; for two or more steps.
    Released,
}

/// The teacher's way from a sequence with hidden positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollout {
    /// Steps of the teacher.
    pub n_steps: usize,
    /// Their size in diffusion time.
    pub step_size: f64,
    /// When they begin.
    pub times: TeacherTimes,
    /// Positions whose logits live at a time; targets do not depend on it.
    pub positions_at_once: usize,
}

/// The teacher's predictions of some positions, at one of its steps.
#[derive(Debug, Clone)]
pub struct StepTargets {
    /// Which of the hidden positions they are of, counted sequence by sequence from the left.
    pub places: Vec<usize>,
    /// `[places, vocab_size]`, MASK included.
    pub logits: Tensor<2>,
}

impl Rollout {
    /// The probability with which each step reveals a position that is hidden at time `t`.
    pub fn reveal_probabilities(&self, t: f64) -> Vec<f64> {
        let (n, dt) = (self.n_steps as f64, self.step_size);
        let begin = |k: f64| match self.times {
            TeacherTimes::Even => t - k * dt,
            TeacherTimes::Released => (1.0 - k / (n - 1.0)) * t + (1.0 - t) * (t - n * dt),
        };
        (0..self.n_steps)
            .map(|k| match begin(k as f64) {
                begin if begin - dt <= 0.0 => 1.0,
                begin => NoiseSchedule::default().reveal_probability(begin, begin - dt),
            })
            .collect()
    }

    /// Runs the teacher, and has `visit` look at the target of each hidden position, some positions at a time; the
    /// draws of a sequence depend on the seed and its index alone.
    ///
    /// # Errors
    /// When the device fails or the teacher's output cannot be used; those of `visit`.
    ///
    /// # Panics
    /// Panics if `positions_at_once` is 0.
    pub fn visit_targets(
        &self,
        teacher: &impl Predictor,
        sequences: &[HiddenSequence],
        tokens: TokenSampler,
        seed: u64,
        device: &Device,
        visit: &mut dyn FnMut(StepTargets) -> Result<(), SampleError>,
    ) -> Result<(), SampleError> {
        let mut rows: Vec<Vec<Option<u32>>> =
            sequences.iter().map(|row| row.tokens.clone()).collect();
        let plan = self.plan(sequences, seed);
        let mut token_rngs: Vec<_> = sequences
            .iter()
            .map(|row| stream(seed, Stream::Tokens, row.index))
            .collect();
        for step in 0..self.n_steps {
            let asked: Vec<&Asked> = plan.iter().filter(|asked| asked.step == step).collect();
            if asked.is_empty() {
                continue;
            }
            let mut queries = vec![Vec::new(); rows.len()];
            for asked in &asked {
                queries[asked.row].push(asked.position);
            }
            let known: Vec<&[Option<u32>]> = rows.iter().map(Vec::as_slice).collect();
            let features = teacher.features(&known, &queries, device)?;
            // Tokens are of use to a later step only.
            let is_last = plan.iter().all(|asked| asked.step <= step);
            for (number, asked) in asked.chunks(self.positions_at_once).enumerate() {
                let start = number * self.positions_at_once;
                let features = features.clone().narrow(0, start, asked.len());
                let logits = teacher.project(features);
                if !is_last {
                    let draws = asked.iter().map(|asked| token_rngs[asked.row].random());
                    let drawn = draw_all(tokens, logits.clone(), draws.collect())?;
                    for (asked, token) in asked.iter().zip(drawn) {
                        rows[asked.row][asked.position] = Some(token);
                    }
                }
                visit(StepTargets {
                    places: asked.iter().map(|asked| asked.place).collect(),
                    logits,
                })?;
            }
        }
        Ok(())
    }

    /// At which step the teacher is asked about each hidden position, sequence by sequence.
    fn plan(&self, sequences: &[HiddenSequence], seed: u64) -> Vec<Asked> {
        let mut plan = Vec::new();
        for (row, sequence) in sequences.iter().enumerate() {
            let mut rng = stream(seed, Stream::Reveal, sequence.index);
            let probabilities = self.reveal_probabilities(sequence.time);
            for position in sequence.hidden() {
                plan.push(Asked {
                    row,
                    position,
                    place: plan.len(),
                    step: first_success(&probabilities, &mut rng),
                });
            }
        }
        plan
    }
}

/// A token for each row of logits `[n, vocab_size]`, from uniform numbers.
fn draw_all(
    tokens: TokenSampler,
    logits: Tensor<2>,
    uniform: Vec<f64>,
) -> Result<Vec<u32>, SampleError> {
    let vocab_size = logits.dims()[1];
    let values = read(logits)?;
    let drawn = values.par_chunks_exact(vocab_size).zip(uniform);
    let drawn = drawn.map(|(logits, uniform)| tokens.draw(logits, uniform));
    Ok(drawn.collect::<Result<Vec<_>, _>>()?)
}

/// A hidden position and the step whose prediction is its target.
struct Asked {
    row: usize,
    position: usize,
    place: usize,
    step: usize,
}

/// The first of independent events that happens; the last one if none does.
fn first_success(probabilities: &[f64], rng: &mut impl Rng) -> usize {
    let found = probabilities.iter().position(|&p| rng.random::<f64>() < p);
    found.unwrap_or(probabilities.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(step_size: f64, times: TeacherTimes) -> Rollout {
        Rollout {
            n_steps: 2,
            step_size,
            times,
            positions_at_once: 8,
        }
    }

    #[test]
    fn the_rest_is_revealed_where_time_runs_out() {
        let even = rollout(0.2, TeacherTimes::Even);
        // 0.2 / 0.8 and 0.2 / 0.6.
        let [first, second] = even.reveal_probabilities(0.8)[..] else {
            panic!("two steps");
        };
        assert!((first - 0.25).abs() < 1e-12 && (second - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(even.reveal_probabilities(0.3)[1], 1.0);
        assert_eq!(even.reveal_probabilities(0.1), [1.0, 1.0]);
    }

    #[test]
    fn the_released_times_are_those_of_the_code() {
        let (t, dt) = (0.7, 0.05);
        let released = rollout(dt, TeacherTimes::Released).reveal_probabilities(t);
        let rest = (1.0 - t) * (t - 2.0 * dt);
        for (found, begin) in released.into_iter().zip([t + rest, rest]) {
            assert!((found - dt / begin).abs() < 1e-12, "{found}");
        }
    }
}
