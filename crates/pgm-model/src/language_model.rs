use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{
    CausalDit, CausalDitConfig, ConfigError, Dit, DitConfig, PartitionTransformer,
    PartitionTransformerConfig, Precision,
};

/// The network of any of the three families, for code that trains, evaluates and samples all of
/// them.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a program holds a model or two, never many"
)]
pub enum LanguageModel {
    /// A partition generative model.
    Partition(PartitionTransformer),
    /// A masked diffusion language model.
    Masked(Dit),
    /// An autoregressive model.
    Causal(CausalDit),
}

impl LanguageModel {
    /// Token ids it knows, MASK included.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Partition(network) => network.vocab_size(),
            Self::Masked(network) => network.vocab_size(),
            Self::Causal(network) => network.vocab_size(),
        }
    }

    /// Multiplies matrices in this format from now on.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        match self {
            Self::Partition(network) => Self::Partition(network.with_precision(precision)),
            Self::Masked(network) => Self::Masked(network.with_precision(precision)),
            Self::Causal(network) => Self::Causal(network.with_precision(precision)),
        }
    }
}

/// Sizes of a [`LanguageModel`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "network", rename_all = "kebab-case")]
pub enum LanguageModelConfig {
    /// Of a [`PartitionTransformer`].
    Partition(PartitionTransformerConfig),
    /// Of a [`Dit`].
    Masked(DitConfig),
    /// Of a [`CausalDit`].
    Causal(CausalDitConfig),
}

impl LanguageModelConfig {
    /// # Errors
    /// When a size is 0, the heads do not divide the width, or the dropout is no probability.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Partition(config) => config.validate(),
            Self::Masked(config) => config.validate(),
            Self::Causal(config) => config.validate(),
        }
    }

    /// Builds the network with random weights.
    ///
    /// # Panics
    /// Panics if [`Self::validate`] refuses the sizes.
    pub fn init(&self, device: &Device) -> LanguageModel {
        match self {
            Self::Partition(config) => LanguageModel::Partition(config.init(device)),
            Self::Masked(config) => LanguageModel::Masked(config.init(device)),
            Self::Causal(config) => LanguageModel::Causal(config.init(device)),
        }
    }

    /// Sets the number of attention heads, which no weight shows.
    pub fn set_n_heads(&mut self, n_heads: usize) {
        match self {
            Self::Partition(config) => config.n_heads = n_heads,
            Self::Masked(config) => config.n_heads = n_heads,
            Self::Causal(config) => config.n_heads = n_heads,
        }
    }

    /// Token ids the network knows, MASK included.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Partition(config) => config.vocab_size,
            Self::Masked(config) => config.vocab_size,
            Self::Causal(config) => config.vocab_size,
        }
    }
}
