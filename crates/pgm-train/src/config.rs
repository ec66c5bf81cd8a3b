use std::path::PathBuf;

use discrete_diffusion::Weighting;
use pgm_data::{DocumentSplit, PrepareConfig, TokenizerSpec, ValidationSplit};
use pgm_eval::SamplerKind;
use pgm_model::{
    CausalDitConfig, DitConfig, LanguageModelConfig, PartitionTransformerConfig, PreQuery,
    QueryProcessorKind,
};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// A training run. Tables and keys that are left out take their defaults; unknown ones are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// Names the folder of the run.
    pub name: String,
    /// Seed of all random numbers.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The text.
    pub data: DataSection,
    /// What is learned.
    #[serde(default)]
    pub objective: ObjectiveSection,
    /// Sizes of the network.
    #[serde(default)]
    pub model: ModelSection,
    /// Adam and what goes with it.
    #[serde(default)]
    pub optimizer: OptimizerSection,
    /// Steps, batches and checkpoints.
    #[serde(default)]
    pub training: TrainingSection,
    /// Validation perplexity.
    #[serde(default)]
    pub evaluation: EvaluationSection,
    /// Samples drawn in the end.
    #[serde(default)]
    pub sampling: SamplingSection,
}

fn default_seed() -> u64 {
    1
}

/// The text and how it is cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Text files and folders; `bundled` is the text that comes with the project.
    pub inputs: Vec<PathBuf>,
    /// `gpt2`, `bpe-<size>` (learned from the text) or a path to a `tokenizer.json`.
    pub tokenizer: TokenizerSpec,
    /// Tokens of a sequence, BOS and EOS included.
    pub seq_len: usize,
    /// What is held out.
    #[serde(default = "default_validation")]
    pub validation: ValidationSplit,
    /// What a document is.
    #[serde(default)]
    pub split: DocumentSplit,
    /// Where prepared tokens are kept, to be shared by runs; the run's own folder by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

fn default_validation() -> ValidationSplit {
    ValidationSplit::Fraction(0.05)
}

impl DataSection {
    /// The preparation of this text in `output`.
    pub fn prepare_config(&self, output: PathBuf) -> PrepareConfig {
        PrepareConfig {
            inputs: self.inputs.clone(),
            tokenizer: self.tokenizer.clone(),
            validation: self.validation,
            split: self.split.clone(),
            output,
        }
    }
}

/// The families of models that can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// Partition generative model.
    #[default]
    Pgm,
    /// Masked diffusion.
    Mdlm,
    /// Masked diffusion with a mask and its complement.
    ComplementMdlm,
    /// Autoregressive.
    Ar,
}

impl ObjectiveKind {
    /// The name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pgm => "pgm",
            Self::Mdlm => "mdlm",
            Self::ComplementMdlm => "complement-mdlm",
            Self::Ar => "ar",
        }
    }
}

/// What is learned.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveSection {
    /// The family.
    pub kind: ObjectiveKind,
    /// Weights of the training loss.
    pub weighting: Weighting,
}

/// Sizes of the network; the vocabulary follows from the tokenizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// Width.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Encoder blocks of a PGM.
    pub n_encoder_blocks: usize,
    /// Decoder blocks of a PGM.
    pub n_decoder_blocks: usize,
    /// Blocks of an MDLM or AR model.
    pub n_blocks: usize,
    /// Width of the conditioning vector.
    pub cond_dim: usize,
    /// Width of the feed-forward layers, in units of `d_model`.
    pub mlp_ratio: usize,
    /// Dropout on both residual branches, in `[0, 1)`.
    pub dropout: f64,
    /// What GroupSwap's queries are made of.
    pub pre_query: PreQuery,
    /// The map from GroupSwap's pre-query to its query.
    pub query_processor: QueryProcessorKind,
}

impl Default for ModelSection {
    fn default() -> Self {
        let pgm = PartitionTransformerConfig::default();
        Self {
            d_model: pgm.d_model,
            n_heads: pgm.n_heads,
            n_encoder_blocks: pgm.n_encoder_blocks,
            n_decoder_blocks: pgm.n_decoder_blocks,
            n_blocks: DitConfig::default().n_blocks,
            cond_dim: pgm.cond_dim,
            mlp_ratio: pgm.mlp_ratio,
            dropout: pgm.dropout,
            pre_query: pgm.pre_query,
            query_processor: pgm.query_processor,
        }
    }
}

impl ModelSection {
    /// The network for an objective.
    pub fn network(&self, objective: ObjectiveKind, vocab_size: usize) -> LanguageModelConfig {
        match objective {
            ObjectiveKind::Pgm => LanguageModelConfig::Partition(PartitionTransformerConfig {
                vocab_size,
                d_model: self.d_model,
                n_heads: self.n_heads,
                n_encoder_blocks: self.n_encoder_blocks,
                n_decoder_blocks: self.n_decoder_blocks,
                cond_dim: self.cond_dim,
                mlp_ratio: self.mlp_ratio,
                dropout: self.dropout,
                pre_query: self.pre_query,
                query_processor: self.query_processor,
            }),
            ObjectiveKind::Mdlm | ObjectiveKind::ComplementMdlm => {
                LanguageModelConfig::Masked(DitConfig {
                    vocab_size,
                    d_model: self.d_model,
                    n_heads: self.n_heads,
                    n_blocks: self.n_blocks,
                    cond_dim: self.cond_dim,
                    mlp_ratio: self.mlp_ratio,
                    dropout: self.dropout,
                })
            }
            ObjectiveKind::Ar => LanguageModelConfig::Causal(CausalDitConfig {
                vocab_size,
                d_model: self.d_model,
                n_heads: self.n_heads,
                n_blocks: self.n_blocks,
                mlp_ratio: self.mlp_ratio,
                dropout: self.dropout,
            }),
        }
    }
}

/// Adam without weight decay, warm-up, clipping and averaged weights. The defaults are published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSection {
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Optimizer steps in which the learning rate grows from 0.
    pub warmup_steps: usize,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the square root of the second moment.
    pub epsilon: f32,
    /// Largest norm of the gradient of all parameters together; 0 turns clipping off.
    pub max_grad_norm: f64,
    /// Decay of the averaged weights, reached through `(1 + n) / (10 + n)`; 0 turns them off.
    pub ema_decay: f64,
}

impl Default for OptimizerSection {
    fn default() -> Self {
        Self {
            learning_rate: 3e-4,
            warmup_steps: 2500,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
            ema_decay: 0.9999,
        }
    }
}

impl OptimizerSection {
    /// The learning rate of the `step`-th update, the first being 0: linear warm-up, then constant.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let warm = step as f64 / self.warmup_steps.max(1) as f64;
        self.learning_rate * warm.min(1.0)
    }
}

/// Steps, batches and checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSection {
    /// Optimizer steps.
    pub n_steps: usize,
    /// Sequences of an optimizer step.
    pub batch_size: usize,
    /// Steps between two lines of the metrics.
    pub log_every: usize,
    /// Steps between two checkpoints.
    pub checkpoint_every: usize,
    /// Checkpoints that are kept.
    pub keep_checkpoints: usize,
}

impl Default for TrainingSection {
    fn default() -> Self {
        Self {
            n_steps: 1_000_000,
            batch_size: 512,
            log_every: 10,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
        }
    }
}

/// Validation perplexity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationSection {
    /// Steps between two validations; the last step is always followed by one.
    pub every: usize,
    /// Sequences of a validation during training; the last one takes all.
    pub n_sequences: usize,
    /// Masks or partitions drawn for each sequence.
    pub n_draws: usize,
    /// Sequences that go through the network at once.
    pub batch_size: usize,
}

impl Default for EvaluationSection {
    fn default() -> Self {
        Self {
            every: 1000,
            n_sequences: 512,
            n_draws: 1,
            batch_size: 32,
        }
    }
}

/// Samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSection {
    /// Sequences drawn in the end.
    pub n_sequences: usize,
    /// Sampling steps.
    pub n_steps: usize,
    /// Divides the logits.
    pub temperature: f64,
    /// The sampler; the model's usual one if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<SamplerKind>,
}

impl Default for SamplingSection {
    fn default() -> Self {
        Self {
            n_sequences: 4,
            n_steps: 128,
            temperature: 1.0,
            sampler: None,
        }
    }
}

impl ExperimentConfig {
    /// Reads and checks a configuration; `overrides` are `table.key=value` and win.
    ///
    /// # Errors
    /// When it is not TOML, a key is not known, or a value cannot be used.
    pub fn from_toml(text: &str, overrides: &[String]) -> Result<Self, TrainError> {
        let refuse = |reason: String| TrainError::Config { reason };
        let config: Self = if overrides.is_empty() {
            toml::from_str(text).map_err(|error| refuse(error.to_string()))?
        } else {
            let mut table: toml::Table =
                toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
            for setting in overrides {
                apply_override(&mut table, setting).map_err(refuse)?;
            }
            let text = toml::to_string(&table).map_err(|error| refuse(error.to_string()))?;
            toml::from_str(&text).map_err(|error| refuse(error.to_string()))?
        };
        config.validate()?;
        Ok(config)
    }

    /// The configuration with every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration has a TOML form")
    }

    /// # Errors
    /// When a value cannot be used.
    pub fn validate(&self) -> Result<(), TrainError> {
        let value = |key, value: String, wanted| Err(TrainError::Value { key, value, wanted });
        let counts = [
            ("training.batch_size", self.training.batch_size),
            ("training.log_every", self.training.log_every),
            ("training.checkpoint_every", self.training.checkpoint_every),
            ("training.keep_checkpoints", self.training.keep_checkpoints),
            ("evaluation.every", self.evaluation.every),
            ("evaluation.n_sequences", self.evaluation.n_sequences),
            ("evaluation.n_draws", self.evaluation.n_draws),
            ("evaluation.batch_size", self.evaluation.batch_size),
            ("sampling.n_steps", self.sampling.n_steps),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return value(key, "0".into(), "at least 1");
        }
        if self.data.seq_len < 4 {
            return value(
                "data.seq_len",
                self.data.seq_len.to_string(),
                "at least 4: BOS, EOS and two tokens of text",
            );
        }
        if self.name.is_empty() || self.name.contains(['/', '\\']) {
            return value(
                "name",
                format!("`{}`", self.name),
                "a name without slashes; it becomes a folder's name",
            );
        }
        let rate = self.optimizer.learning_rate;
        if !(rate.is_finite() && rate > 0.0) {
            return value("optimizer.learning_rate", rate.to_string(), "above 0");
        }
        if !(0.0..1.0).contains(&self.optimizer.ema_decay) {
            return value(
                "optimizer.ema_decay",
                self.optimizer.ema_decay.to_string(),
                "at least 0 and below 1",
            );
        }
        let temperature = self.sampling.temperature;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return value(
                "sampling.temperature",
                temperature.to_string(),
                "0 or above",
            );
        }
        self.data.tokenizer.validate()?;
        self.data.validation.validate()?;
        self.model.network(self.objective.kind, 2).validate()?;
        Ok(())
    }
}

/// Sets `table.key` to a TOML value; text that is no TOML value is taken as a string.
fn apply_override(table: &mut toml::Table, setting: &str) -> Result<(), String> {
    let (key, value) = setting
        .split_once('=')
        .ok_or_else(|| format!("`{setting}` is no setting, wanted `table.key=value`"))?;
    let value = format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_string()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty());
    let last = last.ok_or_else(|| format!("`{setting}` names no key"))?;
    let mut current = table;
    for part in parts {
        current = current
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{part}` in `{setting}` is no table"))?;
    }
    current.insert(last.to_string(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        name = "x"
        [data]
        inputs = ["a.txt"]
        tokenizer = "gpt2"
        seq_len = 16
    "#;

    fn with(overrides: &[&str]) -> Result<ExperimentConfig, TrainError> {
        let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
        ExperimentConfig::from_toml(MINIMAL, &overrides)
    }

    #[test]
    fn defaults_are_the_published_settings() {
        let config = with(&[]).unwrap();
        assert_eq!(config.optimizer.learning_rate, 3e-4);
        assert_eq!(config.optimizer.learning_rate_at(0), 0.0);
        assert_eq!(config.optimizer.learning_rate_at(1250), 1.5e-4);
        assert_eq!(config.optimizer.learning_rate_at(9999), 3e-4);
        assert_eq!(config.training.batch_size, 512);
    }

    #[test]
    fn overrides_win_and_create_tables() {
        let config = with(&["objective.kind=mdlm", "training.n_steps=7"]).unwrap();
        assert_eq!(config.objective.kind, ObjectiveKind::Mdlm);
        assert_eq!(config.training.n_steps, 7);
        let again = ExperimentConfig::from_toml(&config.to_toml(), &[]).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_named() {
        let unknown = with(&["model.d_modle=8"]).unwrap_err().to_string();
        assert!(
            unknown.contains("d_modle") && unknown.contains("d_model"),
            "{unknown}"
        );
        let zero = with(&["training.batch_size=0"]).unwrap_err().to_string();
        assert_eq!(zero, "`training.batch_size` is 0, wanted at least 1");
        let heads = with(&["model.n_heads=7"]).unwrap_err().to_string();
        assert!(heads.contains("`n_heads` 7"), "{heads}");
        let objective = with(&["objective.kind=gan"]).unwrap_err().to_string();
        assert!(objective.contains("complement-mdlm"), "{objective}");
    }
}
