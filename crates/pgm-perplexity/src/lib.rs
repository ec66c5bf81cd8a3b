//! The perplexity of a language model on held-out text.
//!
//! [`Perplexity`] estimates it for any [`LanguageModel`](pgm_model::LanguageModel), with a standard error: by Monte Carlo
//! over masks for diffusion models, as published or as an upper bound ([`EvaluationTimes`]), exactly for autoregressive
//! ones. The nats of each sequence go to [`SequenceScores`], so that an interrupted estimate can go on.
//!
//! ```
//! use pgm_perplexity::RatioEstimate;
//!
//! // Nats and tokens of three sequences.
//! let estimate = RatioEstimate::new(&[(10.0, 5), (12.0, 5), (11.0, 5)]).expect("tokens");
//! assert_eq!(estimate.mean, 33.0 / 15.0);
//! assert!(estimate.standard_error > 0.0);
//! ```

mod error;
mod evaluation_times;
mod perplexity;
mod ratio_estimate;
mod scored_sequence;

pub use error::PerplexityError;
pub use evaluation_times::EvaluationTimes;
pub use perplexity::{Perplexity, PerplexityKind, PerplexityReport};
pub use ratio_estimate::RatioEstimate;
pub use scored_sequence::{ScoredSequence, SequenceScores};
