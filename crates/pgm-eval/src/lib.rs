//! What a trained language model is worth: its perplexity on held-out text, and text drawn from
//! it.
//!
//! - [`Perplexity`] estimates the perplexity of any [`LanguageModel`](pgm_model::LanguageModel)
//!   with a standard error: by Monte Carlo over masks for diffusion models, as published or as an
//!   upper bound ([`EvaluationTimes`]), exactly for autoregressive ones.
//! - [`Generator`] draws sequences with the sampler that fits the model, from what a [`Context`] says
//!   is known: nothing, a prompt, or the text around the blanks of a [`Template`].
//!   [`RevealPicture`] draws how its text emerges, and [`partial_text`] is what is known of it.
//! - [`ChoiceEvaluation`] has a model choose among answers by their likelihood given the question.
//! - [`GenerativePerplexity`] has a [`Judge`] (GPT-2 or a Llama) say how likely such text is, next to how varied
//!   it is ([`TextStatistics`]), and how close it lies to written text ([`Mauve`]).
//!
//! ```
//! use pgm_eval::RatioEstimate;
//!
//! // Nats and tokens of three sequences.
//! let estimate = RatioEstimate::new(&[(10.0, 5), (12.0, 5), (11.0, 5)]).expect("tokens");
//! assert_eq!(estimate.mean, 33.0 / 15.0);
//! assert!(estimate.standard_error > 0.0);
//! ```

mod choice;
mod error;
mod evaluation_times;
mod generation_progress;
mod generative;
mod generator;
mod judge;
mod mauve;
mod perplexity;
mod ratio_estimate;
mod revealing;
mod sampler_kind;
mod sampling_settings;
mod scored_sequence;
mod template;
mod throughput;

pub use choice::{
    AnswerLikelihood, AnsweredQuestion, Choice, ChoiceEvaluation, ChoiceReport, ClozeReader,
    ConditionalLikelihood, Continuation, LikelihoodKind, PublishedLikelihood, Question,
    QuestionFile, QuestionKind,
};
pub use discrete_diffusion::samplers::{Context, RevealOrder, SamplingProgress};
pub use error::EvalError;
pub use evaluation_times::EvaluationTimes;
pub use generation_progress::GenerationProgress;
pub use generative::{
    DrawnSample, Estimate, FeatureText, GenerativeComparison, GenerativeEvaluation,
    GenerativePerplexity, GenerativeReport, HeldOutSamples, JudgedSample, JudgingProgress,
    ModelSamples, NumberedResult, PlotCurve, PlotPoint, ResultsFile, SAMPLE_SEPARATOR,
    SampleSource, Sweep, SweepError, SweptSettings, TextSamples, TextStatistics, TokenCost,
    draw_plots,
};
pub use generator::{Generated, Generator};
pub use judge::{Judge, JudgeError, JudgedRow};
pub use mauve::{Mauve, MauveConfig};
pub use perplexity::{Perplexity, PerplexityKind, PerplexityReport};
pub use ratio_estimate::RatioEstimate;
pub use revealing::{RevealPicture, StyledLetter, TextPiece, partial_text, shown_len, wrap_text};
pub use sampler_kind::SamplerKind;
pub use sampling_settings::SamplingSettings;
pub use scored_sequence::{ScoredSequence, SequenceScores};
pub use template::{Template, TemplateError};
pub use throughput::Throughput;
