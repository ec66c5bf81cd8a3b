//! Drawing sequences from a trained language model.
//!
//! - [`Generator`] draws sequences with the sampler that fits the model ([`SamplerKind`], [`SamplingSettings`]), from what
//!   a [`Context`] says is known: nothing, a prompt, or the text around the blanks of a [`Template`].
//! - [`RevealPicture`] shows how the text emerges step by step; [`partial_text`] is what is known of it after a step.
//!
//! ```
//! use pgm_generation::{Template, TemplateError};
//!
//! let template = Template::parse("The ___:2 of ___")?;
//! // One token per byte, after a BOS token with id 0.
//! let context = template.context::<TemplateError>(0, 16, |text| {
//!     Ok(text.bytes().map(u32::from).collect())
//! })?;
//! assert_eq!(context.seq_len(), 16);
//! assert_eq!(context.n_unknown(), 16 - 1 - "The of".len());
//! # Ok::<(), TemplateError>(())
//! ```

mod error;
mod generation_progress;
mod generator;
mod revealing;
mod sample_separator;
mod sampler_kind;
mod sampling_settings;
mod template;

pub use discrete_diffusion::samplers::{Context, RevealOrder, SamplingProgress};
pub use error::GenerationError;
pub use generation_progress::GenerationProgress;
pub use generator::{Generated, Generator};
pub use revealing::{RevealPicture, StyledLetter, TextPiece, partial_text, shown_len, wrap_text};
pub use sample_separator::SAMPLE_SEPARATOR;
pub use sampler_kind::SamplerKind;
pub use sampling_settings::SamplingSettings;
pub use template::{Template, TemplateError};
