//! The configuration of a run that begins with the weights of another model.

use pgm_data::{Tokenizer, TokenizerSpec};
use pgm_model::LanguageModelConfig;
use serde_json::Value;

use super::{ExperimentConfig, ObjectiveKind, parse_toml};
use crate::run_folder::vocabulary;
use crate::{LoadedModel, TrainError};

/// Keys of `[data]` that go with the weights.
const DATA_KEYS: [&str; 3] = ["seq_len", "packing", "special_tokens"];

impl ExperimentConfig {
    /// As [`Self::from_toml`], for a run that begins with the weights of `source`, called `name`: tokenizer, length of
    /// sequences, objective, sizes of the network and settings of sampling are those of the weights where nothing else
    /// is said. The tokenizer and the sizes cannot be others; the number format of products is not taken over.
    ///
    /// The caller has to say where the run keeps the tokenizer
    /// ([`RunFolder::tokenizer_of_weights`](crate::RunFolder::tokenizer_of_weights)).
    ///
    /// # Errors
    /// As [`Self::from_toml`], and when the configuration asks for another tokenizer, other sizes, or an objective that
    /// cannot train the network.
    pub fn inheriting(
        source: &LoadedModel,
        name: &str,
        text: &str,
        overrides: &[String],
    ) -> Result<Self, TrainError> {
        let given: toml::Table = parse_toml(text, overrides)?;
        let value = |table: &str, key: &str| given.get(table).and_then(|table| table.get(key));
        let own = toml::Table::try_from(source.description.to_config())
            .expect("a configuration has a TOML form");
        let mut settings = Vec::new();
        for (table, entries) in &own {
            let Some(entries) = entries.as_table() else {
                continue;
            };
            for (key, inherited) in entries {
                let goes_with_weights = match table.as_str() {
                    "data" => DATA_KEYS.contains(&key.as_str()),
                    "objective" | "sampling" => true,
                    "model" => key != "precision",
                    _ => false,
                };
                if goes_with_weights && value(table, key).is_none() {
                    settings.push(format!("{table}.{key}={inherited}"));
                }
            }
        }
        match value("data", "tokenizer").and_then(toml::Value::as_str) {
            Some(spec) => check_tokenizer(source, name, spec)?,
            None => settings.push("data.tokenizer=gpt2".to_owned()),
        }
        // What is said wins.
        settings.extend_from_slice(overrides);
        let config = Self::from_toml(text, &settings)?;
        check_network(source, name, &config)?;
        Ok(config)
    }
}

fn check_tokenizer(source: &LoadedModel, name: &str, spec: &str) -> Result<(), TrainError> {
    let spec: TokenizerSpec = spec.parse()?;
    let is_the_same = match &spec {
        TokenizerSpec::Gpt2 => Tokenizer::gpt2().has_vocabulary_of(&source.tokenizer),
        TokenizerSpec::File(path) => {
            Tokenizer::from_file(path)?.has_vocabulary_of(&source.tokenizer)
        }
        // It would be learned from the text: only where the weights' own was called so, it is meant.
        TokenizerSpec::Bpe { .. } => spec == source.description.tokenizer,
    };
    if is_the_same {
        return Ok(());
    }
    Err(TrainError::OtherThanWeights {
        key: "data.tokenizer".to_owned(),
        value: format!("`{spec}`"),
        source_name: name.to_owned(),
        wanted: format!("`{}`", source.description.tokenizer),
    })
}

fn check_network(
    source: &LoadedModel,
    name: &str,
    config: &ExperimentConfig,
) -> Result<(), TrainError> {
    let other = |key: &str, value: String, wanted: String| TrainError::OtherThanWeights {
        key: key.to_owned(),
        value,
        source_name: name.to_owned(),
        wanted,
    };
    let found = source.network_config();
    let (vocab_size, _) = vocabulary(&source.tokenizer);
    let kind = config.objective.kind;
    let wanted = config.model.network(kind, vocab_size);
    let trained_by = match &found {
        LanguageModelConfig::Partition(_) => "`pgm`",
        LanguageModelConfig::Masked(_) => "`mdlm` or `complement-mdlm`",
        LanguageModelConfig::Causal(_) => "`ar`",
    };
    let fits = match kind {
        ObjectiveKind::Pgm => matches!(found, LanguageModelConfig::Partition(_)),
        ObjectiveKind::Mdlm | ObjectiveKind::ComplementMdlm => {
            matches!(found, LanguageModelConfig::Masked(_))
        }
        ObjectiveKind::Ar => matches!(found, LanguageModelConfig::Causal(_)),
    };
    if !fits {
        let kind = format!("`{}`", kind.name());
        return Err(other("objective.kind", kind, trained_by.to_owned()));
    }
    let sizes = |config: &LanguageModelConfig| match serde_json::to_value(config) {
        Ok(Value::Object(sizes)) => sizes,
        _ => unreachable!("sizes are an object"),
    };
    let (found, wanted) = (sizes(&found), sizes(&wanted));
    // Dropout is no size: it may be another one.
    let mut keys = wanted.iter().filter(|(key, _)| *key != "dropout");
    match keys.find(|(key, value)| found.get(*key) != Some(value)) {
        Some((key, value)) => Err(other(
            &format!("model.{key}"),
            value.to_string(),
            found.get(key).map(Value::to_string).unwrap_or_default(),
        )),
        None => Ok(()),
    }
}
