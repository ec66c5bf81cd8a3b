//! What a trained language model is worth: what it knows, and what its text is like.
//!
//! - [`ChoiceEvaluation`] has a model choose among answers by their likelihood given the question.
//! - [`GenerativePerplexity`] has a [`Judge`] (GPT-2 or a Llama) say how likely drawn text is, next to how varied
//!   it is ([`TextStatistics`]), and how close it lies to written text ([`Mauve`]).
//! - [`ResultsFile`] keeps the results of an evaluation as they come, those of a
//!   [`Perplexity`](pgm_perplexity::Perplexity) too, so that an interrupted one goes on.
//!
//! ```
//! use pgm_eval::TextStatistics;
//!
//! let statistics = TextStatistics::from_tokens(&[1, 2, 1, 2]).expect("tokens");
//! // Two of the four tokens occurred before.
//! assert_eq!(statistics.repetition[0], 0.5);
//! ```

mod choice;
mod error;
mod generative;
mod judge;
mod mauve;
mod sequence_results;

pub use choice::{
    AnswerLikelihood, AnsweredQuestion, Choice, ChoiceEvaluation, ChoiceReport, ClozeReader,
    ConditionalLikelihood, Continuation, LikelihoodKind, PublishedLikelihood, Question,
    QuestionFile, QuestionKind,
};
pub use error::EvalError;
pub use generative::{
    DrawnSample, Estimate, FeatureText, GenerativeComparison, GenerativeEvaluation,
    GenerativePerplexity, GenerativeReport, HeldOutSamples, JudgedSample, JudgingProgress,
    ModelSamples, NumberedResult, PlotCurve, PlotPoint, ResultsFile, SampleSource, Sweep,
    SweepError, SweptSettings, TextSamples, TextStatistics, TokenCost, draw_plots,
};
pub use judge::{Judge, JudgeError, JudgedRow};
pub use mauve::{Mauve, MauveConfig};
