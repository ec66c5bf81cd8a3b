use burn::tensor::Device;

use super::{Gpt2, Gpt2Config, JudgeModel, Llama, LlamaConfig};
use crate::weights::{WeightsError, WeightsFile};

/// Sizes of a [`JudgeModel`].
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a program has one or two of these"
)]
pub enum JudgeConfig {
    /// Of a [`Gpt2`].
    Gpt2(Gpt2Config),
    /// Of a [`Llama`].
    Llama(LlamaConfig),
}

/// Why the description of a judge was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeConfigError {
    /// It is no JSON, or an entry is missing or of another type.
    #[error("it cannot be read: {0}")]
    Json(serde_json::Error),
    /// It is something else than a description.
    #[error("{0}")]
    OtherFile(String),
    /// The network is of a family that is not there.
    #[error("`model_type` is `{found}`, wanted `gpt2` or `llama`")]
    Family {
        /// What the file says.
        found: String,
    },
    /// A size that has to be at least 1 is 0.
    #[error("`{name}` is 0, it has to be at least 1")]
    Zero {
        /// The field.
        name: &'static str,
    },
    /// One size does not divide another.
    #[error("`{name}` {size} is not a multiple of `{divisor_name}` {divisor}")]
    Indivisible {
        /// The size.
        name: &'static str,
        /// Its value.
        size: usize,
        /// What has to divide it.
        divisor_name: &'static str,
        /// Its value.
        divisor: usize,
    },
    /// The network differs from the one that is there.
    #[error("`{name}` is `{found}`, only `{wanted}` is supported; take another judge")]
    Variant {
        /// The field.
        name: String,
        /// Its value.
        found: String,
        /// What is supported.
        wanted: &'static str,
    },
    /// A change of the rotary frequencies does not say what it does.
    #[error("its rotary frequencies of type `{kind}` cannot be made: {reason}")]
    Frequencies {
        /// The type.
        kind: String,
        /// What is missing or odd.
        reason: String,
    },
    /// Part of a head is treated in another way than the rest.
    #[error(
        "`{name}` is {found}, only the whole width of a head, {wanted}, is supported; take another judge"
    )]
    HeadWidth {
        /// The entry.
        name: String,
        /// Its value.
        found: usize,
        /// The width of a head.
        wanted: usize,
    },
    /// A GGUF file lacks an entry.
    #[error("its header has no `{key}` of the right type")]
    MissingKey {
        /// The entry.
        key: String,
    },
}

impl JudgeConfigError {
    pub(super) fn unless_variant(
        name: &'static str,
        found: bool,
        wanted: bool,
    ) -> Result<(), Self> {
        match found == wanted {
            true => Ok(()),
            false => Err(Self::Variant {
                name: name.to_owned(),
                found: found.to_string(),
                wanted: if wanted { "true" } else { "false" },
            }),
        }
    }
}

pub(super) fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), JudgeConfigError> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some((name, _)) => Err(JudgeConfigError::Zero { name }),
        None => Ok(()),
    }
}

pub(super) fn check_heads(
    name: &'static str,
    size: usize,
    divisor_name: &'static str,
    divisor: usize,
) -> Result<(), JudgeConfigError> {
    match divisor > 0 && size > 0 && size.is_multiple_of(divisor) {
        true => Ok(()),
        false => Err(JudgeConfigError::Indivisible {
            name,
            size,
            divisor_name,
            divisor,
        }),
    }
}

impl JudgeConfig {
    /// # Errors
    /// When the sizes make no network, or it is a variant that is not there.
    pub fn validate(&self) -> Result<(), JudgeConfigError> {
        match self {
            Self::Gpt2(config) => config.validate(),
            Self::Llama(config) => config.validate(),
        }
    }

    /// Builds the network with the weights of a file.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or has no place in the network, or cannot be read.
    ///
    /// # Panics
    /// Panics if the sizes make no network.
    pub fn load(&self, file: &WeightsFile, device: &Device) -> Result<JudgeModel, WeightsError> {
        Ok(match self {
            Self::Gpt2(config) => {
                let mut model = config.init(device);
                file.load_foreign(&mut model, &Gpt2::NAMES)?;
                JudgeModel::Gpt2(model)
            }
            Self::Llama(config) => {
                let names = match config.tie_word_embeddings {
                    true => &Llama::TIED_NAMES,
                    false => &Llama::NAMES,
                };
                let mut model = config.init(device);
                file.load_foreign(&mut model, names)?;
                JudgeModel::Llama(model)
            }
        })
    }

    /// Token ids the network knows.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Gpt2(config) => config.vocab_size,
            Self::Llama(config) => config.vocab_size,
        }
    }

    /// Longest sequence it judges, in tokens.
    pub fn context_length(&self) -> usize {
        match self {
            Self::Gpt2(config) => config.n_positions,
            Self::Llama(config) => config.context_length(),
        }
    }
}
