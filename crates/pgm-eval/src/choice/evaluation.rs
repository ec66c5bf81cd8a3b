use std::ops::ControlFlow;
use std::time::Instant;

use burn::tensor::Device;
use pgm_data::Tokenizer;
use pgm_model::LanguageModel;
use serde::{Deserialize, Serialize};

use super::answer_likelihood::AnswerLikelihood;
use super::cloze_reader::ClozeReader;
use super::continuation::{Continuation, Tokenisation};
use super::likelihood::ConditionalLikelihood;
use super::likelihood_kind::LikelihoodKind;
use super::published_likelihood::PublishedLikelihood;
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
    /// What answers are compared by.
    pub likelihood: LikelihoodKind,
    /// Draws for the likelihood of an answer, see [`ConditionalLikelihood`] and [`PublishedLikelihood`].
    pub n_draws: usize,
    /// Sequences that go through the network at once; the result does not depend on it, but for rounding.
    pub batch_size: usize,
    /// Most tokens of BOS, context and answer, and of EOS where it is hidden, too; the beginning of longer contexts is cut off.
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
    /// The right answers, ascending.
    pub right: Vec<usize>,
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
    /// done and of all, and stops the work by breaking.
    ///
    /// # Errors
    /// When a setting is 0, an answer is too long or has no token, the model has no such likelihood, the device fails, a
    /// likelihood is not finite, the results cannot be written, or the work is stopped. Answers are checked before any
    /// is read.
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
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<(), EvalError> {
        if self.n_questions == 0 {
            return Err(EvalError::Zero {
                name: "n_questions",
            });
        }
        let likelihood = Likelihood::new(self, model, device);
        let tokenisation = Tokenisation {
            tokenizer,
            max_length: self.max_length,
            likelihood: self.likelihood,
        };
        let questions = &file.questions()[..self.n_questions];
        let continuations = file.continuations(self.n_questions, tokenisation)?;
        while results.samples().len() < questions.len() {
            let start = results.samples().len();
            let end = (start + QUESTIONS_AT_ONCE).min(questions.len());
            let started = Instant::now();
            let mut answered = answer_all(
                &likelihood,
                file.kind(),
                &questions[start..end],
                &continuations[start..end].concat(),
            )?;
            let seconds = started.elapsed().as_secs_f64() / answered.len() as f64;
            for (number, answered) in (start..).zip(&mut answered) {
                answered.number = number;
                answered.seconds = seconds;
            }
            results.append(answered)?;
            if progress(end, questions.len()).is_break() && end < questions.len() {
                return Err(EvalError::Interrupted);
            }
        }
        Ok(())
    }
}

/// One of the likelihoods.
enum Likelihood<'a> {
    Conditional(ConditionalLikelihood<'a>),
    Published(PublishedLikelihood<'a>),
}

impl<'a> Likelihood<'a> {
    fn new(evaluation: &ChoiceEvaluation, model: &'a LanguageModel, device: &'a Device) -> Self {
        let ChoiceEvaluation { n_draws, seed, .. } = *evaluation;
        let reader = ClozeReader {
            model,
            mask_token: evaluation.mask_token,
            batch_size: evaluation.batch_size,
            device,
        };
        match evaluation.likelihood {
            LikelihoodKind::Conditional => Self::Conditional(ConditionalLikelihood {
                reader,
                n_draws,
                seed,
            }),
            LikelihoodKind::Published => Self::Published(PublishedLikelihood {
                reader,
                n_draws,
                seed,
            }),
        }
    }

    fn answer_likelihoods(
        &self,
        answers: &[Continuation],
    ) -> Result<Vec<AnswerLikelihood>, EvalError> {
        match self {
            Self::Conditional(likelihood) => likelihood.answer_likelihoods(answers),
            Self::Published(likelihood) => likelihood.answer_likelihoods(answers),
        }
    }

    /// Whether greedy decoding gives each answer, and in how many runs of the network.
    fn is_greedy(&self, answers: &[Continuation]) -> Result<Vec<(bool, usize)>, EvalError> {
        match self {
            Self::Conditional(likelihood) => {
                let runs = answers.iter().map(Continuation::n_tokens);
                Ok(likelihood
                    .is_greedy(answers)?
                    .into_iter()
                    .zip(runs)
                    .collect())
            }
            Self::Published(likelihood) => {
                let greedy = likelihood.is_greedy(answers)?.into_iter();
                Ok(greedy.map(|greedy| (greedy, 1)).collect())
            }
        }
    }
}

fn answer_all(
    likelihood: &Likelihood,
    kind: QuestionKind,
    questions: &[Question],
    continuations: &[Continuation],
) -> Result<Vec<AnsweredQuestion>, EvalError> {
    let mut likelihoods = likelihood.answer_likelihoods(continuations)?.into_iter();
    // A last word is one continuation a question.
    let is_greedy: Vec<Option<(bool, usize)>> = match kind {
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
            let greedy = is_greedy.map_or(0, |(_, n_runs)| n_runs);
            AnsweredQuestion {
                number: i,
                log_likelihoods: of_question.iter().map(|l| l.log_likelihood).collect(),
                standard_errors: of_question.iter().map(|l| l.standard_error).collect(),
                n_bytes: question
                    .choices
                    .iter()
                    .map(|choice| choice.n_bytes())
                    .collect(),
                right: question.right.clone(),
                is_greedy: is_greedy.map(|(is_greedy, _)| is_greedy),
                network_evaluations: drawn + greedy,
                seconds: 0.0,
            }
        })
        .collect())
}
