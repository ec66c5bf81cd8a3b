use std::time::Instant;

use burn::tensor::Device;
use pgm_data::Tokenizer;
use pgm_model::LanguageModel;
use serde::{Deserialize, Serialize};

use super::likelihood::{ConditionalLikelihood, Continuation};
use super::question::{Question, QuestionKind};
use super::question_file::QuestionFile;
use crate::EvalError;
use crate::generative::{NumberedResult, ResultsFile};

/// Questions that are answered between two lines of the results.
const QUESTIONS_AT_ONCE: usize = 8;

/// Has a model answer questions: the likeliest answer is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChoiceEvaluation {
    /// Questions to answer, from the first of the file.
    pub n_questions: usize,
    /// Draws for the likelihood of an answer, see [`ConditionalLikelihood`].
    pub n_draws: usize,
    /// Sequences that go through the network at once; the result does not depend on it, but for rounding.
    pub batch_size: usize,
    /// Most tokens of BOS, context and answer; the beginning of longer contexts is cut off.
    pub max_length: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The id of MASK.
    pub mask_token: usize,
}

/// What a model says to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnsweredQuestion {
    /// Number of the question, from 0.
    pub number: usize,
    /// Log-likelihood of each answer in nats.
    pub log_likelihoods: Vec<f64>,
    /// Their standard errors over the draws: 0 where exact, none after a single draw.
    pub standard_errors: Vec<Option<f64>>,
    /// Bytes of each answer.
    pub n_bytes: Vec<usize>,
    /// The right answer.
    pub answer: usize,
    /// Whether greedy decoding gives the last word; none where there are choices.
    pub is_greedy: Option<bool>,
    /// Sequences that went through the network.
    pub network_evaluations: usize,
    /// Its share of the time.
    pub seconds: f64,
}

impl NumberedResult for AnsweredQuestion {
    fn number(&self) -> usize {
        self.number
    }
}

impl ChoiceEvaluation {
    /// Answers the questions that `results` has not yet, and appends some at a time; `progress` hears of questions
    /// done and of all, and stops the work by returning false.
    ///
    /// # Errors
    /// When a setting is 0, an answer is too long, the device fails, a likelihood is not finite, the results cannot
    /// be written, or the work is stopped.
    ///
    /// # Panics
    /// Panics if there are fewer questions than `n_questions`.
    pub fn answer(
        &self,
        model: &LanguageModel,
        tokenizer: &Tokenizer,
        file: &QuestionFile,
        device: &Device,
        results: &mut ResultsFile<AnsweredQuestion>,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<(), EvalError> {
        if self.n_questions == 0 {
            return Err(EvalError::Zero {
                name: "n_questions",
            });
        }
        let likelihood = ConditionalLikelihood {
            model,
            mask_token: self.mask_token,
            n_draws: self.n_draws,
            batch_size: self.batch_size,
            seed: self.seed,
            device,
        };
        let questions = &file.questions()[..self.n_questions];
        // An answer's stream is named by its place among all answers of the file.
        let mut n_before = 0;
        let first_answers: Vec<u64> = questions
            .iter()
            .map(|question| {
                n_before += question.choices.len() as u64;
                n_before - question.choices.len() as u64
            })
            .collect();
        while results.samples().len() < questions.len() {
            let start = results.samples().len();
            let end = (start + QUESTIONS_AT_ONCE).min(questions.len());
            let started = Instant::now();
            let mut continuations = Vec::new();
            for number in start..end {
                let question = &questions[number];
                for (number, choice) in (first_answers[number]..).zip(&question.choices) {
                    let continuation =
                        file.continuation(question, choice, number, tokenizer, self.max_length)?;
                    continuations.push(continuation);
                }
            }
            let mut answered = answer_all(
                &likelihood,
                file.kind(),
                &questions[start..end],
                &continuations,
            )?;
            let seconds = started.elapsed().as_secs_f64() / answered.len() as f64;
            for (number, answered) in (start..).zip(&mut answered) {
                answered.number = number;
                answered.seconds = seconds;
            }
            results.append(answered)?;
            if !progress(end, questions.len()) && end < questions.len() {
                return Err(EvalError::Interrupted);
            }
        }
        Ok(())
    }
}

fn answer_all(
    likelihood: &ConditionalLikelihood,
    kind: QuestionKind,
    questions: &[Question],
    continuations: &[Continuation],
) -> Result<Vec<AnsweredQuestion>, EvalError> {
    let mut likelihoods = likelihood.of(continuations)?.into_iter();
    // A last word is one continuation a question.
    let is_greedy: Vec<Option<bool>> = match kind {
        QuestionKind::LastWord => {
            let all = likelihood.is_greedy(continuations)?;
            all.into_iter().map(Some).collect()
        }
        QuestionKind::MultipleChoice => vec![None; questions.len()],
    };
    let answered = questions.iter().zip(is_greedy).enumerate();
    Ok(answered
        .map(|(i, (question, is_greedy))| {
            let of_question: Vec<_> = likelihoods.by_ref().take(question.choices.len()).collect();
            let drawn: usize = of_question.iter().map(|l| l.network_evaluations).sum();
            let greedy = is_greedy.map_or(0, |_| continuations[i].n_tokens());
            AnsweredQuestion {
                number: i,
                log_likelihoods: of_question.iter().map(|l| l.log_likelihood).collect(),
                standard_errors: of_question.iter().map(|l| l.standard_error).collect(),
                n_bytes: question
                    .choices
                    .iter()
                    .map(|choice| choice.n_bytes())
                    .collect(),
                answer: question.answer,
                is_greedy,
                network_evaluations: drawn + greedy,
                seconds: 0.0,
            }
        })
        .collect())
}
