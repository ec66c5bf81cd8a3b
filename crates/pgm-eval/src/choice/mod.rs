//! Questions with several answers, and texts whose last word is asked for.

mod evaluation;
mod likelihood;
mod question;
mod question_file;
mod report;

pub use evaluation::{AnsweredQuestion, ChoiceEvaluation};
pub use likelihood::{AnswerLikelihood, ConditionalLikelihood, Continuation};
pub use question::{Choice, Question, QuestionKind};
pub use question_file::QuestionFile;
pub use report::ChoiceReport;
