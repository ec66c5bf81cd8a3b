use burn::tensor::Device;

use super::{Gpt2, Gpt2Config, JudgeModel, Llama, LlamaConfig};
use crate::weights::{GgufFile, WeightsError, WeightsFile};

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
    Json(#[from] serde_json::Error),
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
        name: &'static str,
        /// Its value.
        found: String,
        /// What is supported.
        wanted: &'static str,
    },
    /// A change of the rotary frequencies does not say what it does.
    #[error("its rotary frequencies of type `llama3` cannot be made: {0}")]
    Frequencies(String),
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
                name,
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
    /// Reads the text of a `config.json` of the `transformers` library.
    ///
    /// # Errors
    /// When it is no JSON, describes another network, or its sizes make none.
    pub fn from_json(text: &str) -> Result<Self, JudgeConfigError> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        let config = match value.get("model_type").and_then(|family| family.as_str()) {
            Some("gpt2") => Self::Gpt2(serde_json::from_value(value)?),
            Some("llama") => Self::Llama(serde_json::from_value(value)?),
            other => {
                return Err(JudgeConfigError::Family {
                    found: other.unwrap_or("missing").to_owned(),
                });
            }
        };
        match &config {
            Self::Gpt2(config) => config.validate()?,
            Self::Llama(config) => config.validate()?,
        }
        Ok(config)
    }

    /// Reads the header of a GGUF file.
    ///
    /// # Errors
    /// When an entry is missing, the network is no Llama, or its sizes make none.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, JudgeConfigError> {
        let missing = |key: &str| JudgeConfigError::MissingKey {
            key: key.to_owned(),
        };
        let family = "general.architecture";
        match file.text(family).ok_or_else(|| missing(family))? {
            "llama" => {}
            other => {
                return Err(JudgeConfigError::Family {
                    found: other.to_owned(),
                });
            }
        }
        let size = |key: &str| file.size(key).ok_or_else(|| missing(key));
        let number = |key: &str| file.number(key).ok_or_else(|| missing(key));
        let config = LlamaConfig {
            vocab_size: file
                .rows_of("model.embed_tokens.weight")
                .ok_or_else(|| missing("token_embd.weight"))?,
            hidden_size: size("llama.embedding_length")?,
            intermediate_size: size("llama.feed_forward_length")?,
            num_hidden_layers: size("llama.block_count")?,
            num_attention_heads: size("llama.attention.head_count")?,
            num_key_value_heads: file.size("llama.attention.head_count_kv"),
            head_dim: file.size("llama.attention.key_length"),
            max_position_embeddings: size("llama.context_length")?,
            rms_norm_eps: number("llama.attention.layer_norm_rms_epsilon")?,
            rope_theta: file.number("llama.rope.freq_base"),
            rope_parameters: None,
            rope_scaling: None,
            tie_word_embeddings: file.rows_of("lm_head.weight").is_none(),
            attention_bias: false,
            mlp_bias: false,
            hidden_act: "silu".to_owned(),
        };
        config.validate()?;
        Ok(Self::Llama(config))
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
            Self::Llama(config) => config.max_position_embeddings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_networks_are_refused_by_name() {
        for (text, wanted) in [
            ("{}", "`model_type` is `missing`, wanted `gpt2` or `llama`"),
            (
                r#"{"model_type": "gpt2", "n_embd": 10, "n_head": 3}"#,
                "`n_embd` 10 is not a multiple of `n_head` 3",
            ),
            (
                r#"{"model_type": "gpt2", "activation_function": "relu"}"#,
                "`activation_function` is `relu`, only `gelu_new` is supported; take another judge",
            ),
            (
                r#"{"model_type": "llama", "vocab_size": 9, "hidden_size": 8, "intermediate_size": 8,
                    "num_hidden_layers": 1, "num_attention_heads": 2,
                    "rope_scaling": {"type": "linear", "factor": 2.0}}"#,
                "`rope_type` is `linear`, only `default` or `llama3` is supported; take another judge",
            ),
        ] {
            assert_eq!(
                JudgeConfig::from_json(text).unwrap_err().to_string(),
                wanted
            );
        }
        let missing = JudgeConfig::from_json(r#"{"model_type": "llama"}"#).unwrap_err();
        assert!(
            missing.to_string().contains("missing field `vocab_size`"),
            "{missing}"
        );
    }

    #[test]
    fn sizes_that_are_left_out_are_gpt2_small() {
        let config = JudgeConfig::from_json(r#"{"model_type": "gpt2", "n_layer": 36}"#).unwrap();
        assert_eq!(
            (config.vocab_size(), config.context_length()),
            (50_257, 1024)
        );
    }
}
