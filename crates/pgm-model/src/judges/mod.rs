//! Published autoregressive language models that judge text: [`Gpt2`] and [`Llama`].
//!
//! [`JudgeConfig`] reads the sizes from a `config.json` of the `transformers` library, or from the header of
//! a [`GgufFile`](crate::weights::GgufFile), and loads the weights. [`JudgeModel::token_nll`] is all that is
//! asked of a judge.

mod foreign_names;
mod gpt2;
mod judge_config;
mod judge_model;
mod llama;
mod rope_parameters;

pub(crate) use foreign_names::ForeignNames;
pub use gpt2::{Gpt2, Gpt2Config};
pub use judge_config::{JudgeConfig, JudgeConfigError};
pub use judge_model::JudgeModel;
pub use llama::{Llama, LlamaConfig};
pub use rope_parameters::RopeParameters;
