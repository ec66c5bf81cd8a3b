//! Published autoregressive language models that judge text: [`Gpt2`] and [`Llama`].
//!
//! [`JudgeDescription`] reads the sizes from a `config.json` of the `transformers` library, or from the header of
//! a [`GgufFile`](pgm_weights::GgufFile), and names the keys that it does not know; [`JudgeConfig`] loads the weights.
//! [`JudgeModel::token_nll`] is all that is asked of a judge.
//!
//! | feature | backend |
//! | --- | --- |
//! | `flex` (default) | the CPU |
//! | `wgpu`, `vulkan`, `metal`, `cuda` | GPUs, as in `pgm-model` |

mod config_keys;
mod error;
mod gpt2;
mod judge_config;
mod judge_description;
mod judge_model;
mod llama;
mod rope_parameters;
mod rope_scaling;

pub use error::JudgeConfigError;
pub use gpt2::{Gpt2, Gpt2Config};
pub use judge_config::JudgeConfig;
pub use judge_description::JudgeDescription;
pub use judge_model::JudgeModel;
pub use llama::{Llama, LlamaConfig};
pub use rope_parameters::RopeParameters;
