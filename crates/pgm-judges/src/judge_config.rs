use burn::tensor::Device;
use pgm_weights::{WeightsError, WeightsFile};

use crate::error::JudgeConfigError;
use crate::gpt2::{Gpt2, Gpt2Config};
use crate::judge_model::JudgeModel;
use crate::llama::{Llama, LlamaConfig};

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
                let names = if config.tie_word_embeddings {
                    &Llama::TIED_NAMES
                } else {
                    &Llama::NAMES
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_networks_are_the_published_ones() {
        for (own, published) in [
            ("token_embedding.weight", "wte.weight"),
            ("blocks.10.norm1.gamma", "h.10.ln_1.weight"),
            ("blocks.1.attn_qkv.bias", "h.1.attn.c_attn.bias"),
            ("blocks.1.mlp.down.weight", "h.1.mlp.c_proj.weight"),
            ("norm.beta", "ln_f.bias"),
        ] {
            assert_eq!(Gpt2::NAMES.name_of(own), published);
        }
        for (own, published) in [
            ("norm.gamma", "norm.weight"),
            (
                "blocks.3.norm2.gamma",
                "layers.3.post_attention_layernorm.weight",
            ),
            ("head.weight", "lm_head.weight"),
        ] {
            assert_eq!(Llama::NAMES.name_of(own), published);
        }
    }

    #[test]
    fn prefixes_are_taken_off_and_buffers_left_out() {
        let parameter = |name| Gpt2::NAMES.parameter(name);
        assert_eq!(parameter("transformer.wte.weight").unwrap(), "wte.weight");
        assert_eq!(parameter("wte.weight").unwrap(), "wte.weight");
        assert_eq!(
            parameter("h.0.attn.c_attn.bias").unwrap(),
            "h.0.attn.c_attn.bias"
        );
        assert_eq!(parameter("h.0.attn.bias"), None);
        assert_eq!(parameter("lm_head.weight"), None);
    }
}
