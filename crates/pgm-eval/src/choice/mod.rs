//! Questions with several answers, and texts whose last word is asked for.

mod answer_likelihood;
mod cloze_reader;
mod continuation;
mod evaluation;
mod harness_samples;
mod likelihood;
mod likelihood_kind;
mod published_likelihood;
mod question;
mod question_file;
mod report;
#[cfg(test)]
pub(crate) mod test_models;

pub use answer_likelihood::AnswerLikelihood;
pub use cloze_reader::ClozeReader;
pub use continuation::Continuation;
pub use evaluation::{AnsweredQuestion, ChoiceEvaluation};
pub use likelihood::ConditionalLikelihood;
pub use likelihood_kind::LikelihoodKind;
pub use published_likelihood::PublishedLikelihood;
pub use question::{Choice, Question, QuestionKind};
pub use question_file::QuestionFile;
pub use report::ChoiceReport;
