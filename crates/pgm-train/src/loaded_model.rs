use std::path::Path;

use burn::tensor::Device;
use pgm_data::Tokenizer;
use pgm_model::{LanguageModel, LanguageModelConfig};
use pgm_weights::{WeightsFile, WeightsSource};

use crate::config::{ModelSection, ObjectiveKind};
use crate::run_folder::vocabulary;
use crate::{ModelDescription, ObjectiveSection, TrainError, WeightsNote};

/// Tokens of a sequence, where neither the file nor anybody else says: those of the published models.
const SEQ_LEN: usize = 1024;

/// A trained model, ready to be sampled, evaluated or trained on, wherever it is from.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// The network with its weights.
    pub network: LanguageModel,
    /// The tokenizer that it was trained with.
    pub tokenizer: Tokenizer,
    /// The id of MASK.
    pub mask_token: usize,
    /// Its length of sequences, its objective and what else is known of it.
    pub description: ModelDescription,
    /// Optimizer steps, 0 if nobody says.
    pub step: usize,
    /// Which weights these are.
    pub weights: WeightsSource,
}

impl LoadedModel {
    /// Weights of a file and a tokenizer, for sequences of up to `seq_len` tokens. What the file says of its run
    /// ([`WeightsNote`]) holds: steps, objective, settings of sampling and, unless given, the length of sequences;
    /// without a note there are no steps, settings of sampling are the defaults, and sequences have 1024 tokens.
    ///
    /// A file with the name of a published one has to have its sizes. `n_heads` is for files that do not tell the
    /// number of heads, see [`WeightsFile::config`].
    ///
    /// # Errors
    /// When the file does not fit a network or what it says cannot be understood, or the tokenizer does not fit the
    /// network's vocabulary.
    pub fn from_weights(
        path: &Path,
        file: &WeightsFile,
        tokenizer: Tokenizer,
        seq_len: Option<usize>,
        n_heads: Option<usize>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        file.check_published_sizes()?;
        let sizes = file.config(n_heads)?;
        let (vocab_size, mask_token) = vocabulary(&tokenizer);
        if vocab_size != sizes.vocab_size() {
            return Err(TrainError::Vocabulary {
                path: path.to_path_buf(),
                network: sizes.vocab_size(),
                name: tokenizer.name().to_owned(),
                tokenizer: vocab_size,
            });
        }
        let note = WeightsNote::read(file)?;
        let trained_len = note.as_ref().map(|note| note.seq_len);
        let seq_len = seq_len.or(trained_len).unwrap_or(SEQ_LEN);
        let mut description = describe(path, &sizes, &tokenizer, seq_len)?;
        if let Some(note) = &note {
            note.apply(&mut description, &tokenizer);
        }
        let kind = description.objective.kind;
        if description.model.network(kind, vocab_size) != sizes {
            return Err(TrainError::File {
                action: "use",
                path: path.to_path_buf(),
                reason: format!(
                    "it says that objective `{}` was learned, which is none of its network",
                    kind.name()
                ),
            });
        }
        Ok(Self {
            network: file.load(n_heads, device)?,
            tokenizer,
            mask_token,
            description,
            step: note.map_or(0, |note| note.step),
            weights: file.source(),
        })
    }

    /// The sizes of its network.
    pub fn network_config(&self) -> LanguageModelConfig {
        let (vocab_size, _) = vocabulary(&self.tokenizer);
        let ModelDescription {
            model, objective, ..
        } = &self.description;
        model.network(objective.kind, vocab_size)
    }
}

/// What a file tells by its name and its tensors.
fn describe(
    path: &Path,
    sizes: &LanguageModelConfig,
    tokenizer: &Tokenizer,
    seq_len: usize,
) -> Result<ModelDescription, TrainError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let (kind, model) = ModelSection::from_network(sizes);
    let description = ModelDescription {
        name: name.into_owned(),
        objective: ObjectiveSection {
            kind,
            ..Default::default()
        },
        model,
        seq_len,
        packing: Default::default(),
        tokenizer: tokenizer.name().parse()?,
        special_tokens: tokenizer.special_tokens().chosen(),
        sampling: Default::default(),
    };
    description.to_config().validate()?;
    Ok(description)
}

impl ModelSection {
    /// The objective and the sizes that [`Self::network`] makes this network of; an MDLM could have been trained with
    /// complementary masks as well.
    fn from_network(sizes: &LanguageModelConfig) -> (ObjectiveKind, Self) {
        let default = Self::default();
        match sizes {
            LanguageModelConfig::Partition(sizes) => (
                ObjectiveKind::Pgm,
                Self {
                    d_model: sizes.d_model,
                    n_heads: sizes.n_heads,
                    n_encoder_blocks: sizes.n_encoder_blocks,
                    n_decoder_blocks: sizes.n_decoder_blocks,
                    cond_dim: sizes.cond_dim,
                    mlp_ratio: sizes.mlp_ratio,
                    dropout: sizes.dropout,
                    pre_query: sizes.pre_query,
                    query_processor: sizes.query_processor,
                    ..default
                },
            ),
            LanguageModelConfig::Masked(sizes) => (
                ObjectiveKind::Mdlm,
                Self {
                    d_model: sizes.d_model,
                    n_heads: sizes.n_heads,
                    n_blocks: sizes.n_blocks,
                    cond_dim: sizes.cond_dim,
                    mlp_ratio: sizes.mlp_ratio,
                    dropout: sizes.dropout,
                    ..default
                },
            ),
            LanguageModelConfig::Causal(sizes) => (
                ObjectiveKind::Ar,
                Self {
                    d_model: sizes.d_model,
                    n_heads: sizes.n_heads,
                    n_blocks: sizes.n_blocks,
                    mlp_ratio: sizes.mlp_ratio,
                    dropout: sizes.dropout,
                    ..default
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use pgm_model::{CausalDitConfig, DitConfig, PartitionTransformerConfig};

    use super::*;

    #[test]
    fn sections_make_the_network_they_were_made_of() {
        let width = 16;
        for sizes in [
            LanguageModelConfig::Partition(PartitionTransformerConfig {
                vocab_size: 9,
                d_model: width,
                n_encoder_blocks: 3,
                ..Default::default()
            }),
            LanguageModelConfig::Masked(DitConfig {
                vocab_size: 9,
                d_model: width,
                n_blocks: 3,
                ..Default::default()
            }),
            LanguageModelConfig::Causal(CausalDitConfig {
                vocab_size: 9,
                d_model: width,
                n_blocks: 3,
                ..Default::default()
            }),
        ] {
            let (kind, section) = ModelSection::from_network(&sizes);
            assert_eq!(section.network(kind, 9), sizes);
        }
    }
}
