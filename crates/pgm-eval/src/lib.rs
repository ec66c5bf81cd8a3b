//! What a trained language model is worth: its perplexity on held-out text, and text drawn from
//! it.
//!
//! - [`Perplexity`] estimates the perplexity of any [`LanguageModel`](pgm_model::LanguageModel)
//!   with a standard error: by Monte Carlo over masks for diffusion models, exactly for
//!   autoregressive ones.
//! - [`Generator`] draws sequences with the sampler that fits the model.
//!
//! ```
//! use pgm_eval::RatioEstimate;
//!
//! // Nats and tokens of three sequences.
//! let estimate = RatioEstimate::new(&[(10.0, 5), (12.0, 5), (11.0, 5)]).expect("tokens");
//! assert_eq!(estimate.mean, 33.0 / 15.0);
//! assert!(estimate.standard_error > 0.0);
//! ```

mod error;
mod generator;
mod perplexity;
mod ratio_estimate;
mod throughput;

pub use error::EvalError;
pub use generator::{Generated, Generator, SamplerKind};
pub use perplexity::{Perplexity, PerplexityReport};
pub use ratio_estimate::RatioEstimate;
pub use throughput::Throughput;
