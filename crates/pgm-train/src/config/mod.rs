mod data;
mod inherited;
mod model;
mod optimizer;
mod parse;
mod training;

pub use data::DataSection;
pub use model::{ModelSection, ObjectiveKind, ObjectiveSection};
pub use optimizer::{LearningRateSchedule, OptimizerSection};
pub use parse::parse_toml;
pub use training::{EvaluationSection, TrainingSection};

use pgm_generation::SamplingSettings;
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
    /// How text is drawn.
    #[serde(default)]
    pub sampling: SamplingSettings,
}

fn default_seed() -> u64 {
    1
}

impl ExperimentConfig {
    /// A run on this text; all else has its default.
    pub fn new(name: String, data: DataSection) -> Self {
        Self {
            name,
            seed: default_seed(),
            data,
            objective: ObjectiveSection::default(),
            model: ModelSection::default(),
            optimizer: OptimizerSection::default(),
            training: TrainingSection::default(),
            evaluation: EvaluationSection::default(),
            sampling: SamplingSettings::default(),
        }
    }

    /// Reads and checks a configuration; `overrides` are `table.key=value` and win.
    ///
    /// # Errors
    /// When it is not TOML, a key is not known, or a value cannot be used.
    pub fn from_toml(text: &str, overrides: &[String]) -> Result<Self, TrainError> {
        let config: Self = parse_toml(text, overrides)?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration with every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration has a TOML form")
    }

    /// The learning rate of the update after `step` optimizer steps.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        self.optimizer.learning_rate_at(step, self.training.n_steps)
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
            (
                "training.micro_batch_size",
                self.training.micro_batch_size(),
            ),
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
        if !self
            .training
            .batch_size
            .is_multiple_of(self.training.micro_batch_size())
        {
            return value(
                "training.micro_batch_size",
                self.training.micro_batch_size().to_string(),
                "a divisor of `training.batch_size`",
            );
        }
        let last_rate = self.optimizer.final_learning_rate;
        if !(0.0..=rate).contains(&last_rate) {
            return value(
                "optimizer.final_learning_rate",
                last_rate.to_string(),
                "0 to `optimizer.learning_rate`",
            );
        }
        if !(0.0..1.0).contains(&self.optimizer.ema_decay) {
            return value(
                "optimizer.ema_decay",
                self.optimizer.ema_decay.to_string(),
                "at least 0 and below 1",
            );
        }
        if let Err(error) = self.sampling.check() {
            return Err(TrainError::Config {
                reason: format!("in `[sampling]`: {error}"),
            });
        }
        self.check_tokens_at_once()?;
        self.data.tokenizer.validate()?;
        self.data.validation.validate()?;
        self.model.network(self.objective.kind, 2).validate()?;
        Ok(())
    }

    /// Refuses numbers of tokens that no device holds, and that would overflow where they are multiplied.
    fn check_tokens_at_once(&self) -> Result<(), TrainError> {
        for (key, n_sequences) in [
            ("training.batch_size", self.training.batch_size),
            ("evaluation.batch_size", self.evaluation.batch_size),
        ] {
            let n_tokens = n_sequences.checked_mul(self.data.seq_len);
            if n_tokens.is_none_or(|n_tokens| n_tokens > i32::MAX as usize) {
                return Err(TrainError::Value {
                    key,
                    value: format!(
                        "{n_sequences} sequences of {} tokens (`data.seq_len`)",
                        self.data.seq_len
                    ),
                    wanted: "at most 2,147,483,647 tokens at once",
                });
            }
        }
        Ok(())
    }
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
        assert_eq!(config.learning_rate_at(0), 0.0);
        assert_eq!(config.learning_rate_at(1250), 1.5e-4);
        assert_eq!(config.learning_rate_at(9999), 3e-4);
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
        assert!(unknown.contains("with `model.d_modle=8`"), "{unknown}");
        assert!(unknown.contains("did you mean `d_model`?"), "{unknown}");
        let in_text = MINIMAL.replace("seq_len", "seqlen");
        for overrides in [vec![], vec!["seed=2".to_string()]] {
            let error = ExperimentConfig::from_toml(&in_text, &overrides).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("line 6"), "{error}");
            assert!(error.contains("did you mean `seq_len`?"), "{error}");
        }
        let table = with(&["optimiser.beta_1=0.5"]).unwrap_err().to_string();
        assert!(table.contains("did you mean `optimizer`?"), "{table}");
        let zero = with(&["training.batch_size=0"]).unwrap_err().to_string();
        assert_eq!(zero, "`training.batch_size` is 0, wanted at least 1");
        for key in ["training.batch_size", "data.seq_len"] {
            let setting = format!("{key}={}", i64::MAX);
            let huge = with(&[&setting]).unwrap_err().to_string();
            assert!(huge.contains("wanted at most 2,147,483,647"), "{huge}");
        }
        let heads = with(&["model.n_heads=7"]).unwrap_err().to_string();
        assert!(heads.contains("`n_heads` 7"), "{heads}");
        let objective = with(&["objective.kind=gan"]).unwrap_err().to_string();
        assert!(objective.contains("complement-mdlm"), "{objective}");
    }

    #[test]
    fn sampling_settings_are_read_and_checked() {
        let config = with(&[
            "sampling.n_steps=2",
            "sampling.sampler=remask-cap",
            "sampling.order=margin",
            "sampling.top_k=5",
            "sampling.top_p=0.9",
        ])
        .unwrap();
        let settings = &config.sampling;
        assert_eq!((config.sampling.n_steps, settings.top_k), (2, Some(5)));
        assert_eq!(
            settings.sampler,
            Some(pgm_generation::SamplerKind::RemaskCap)
        );
        assert_eq!(settings.order, Some(pgm_generation::RevealOrder::Margin));
        let again = ExperimentConfig::from_toml(&config.to_toml(), &[]).unwrap();
        assert_eq!(again, config);
        let unknown = with(&["sampling.top_q=0.9"]).unwrap_err().to_string();
        assert!(unknown.contains("did you mean `top_p`?"), "{unknown}");
        let refused = with(&["sampling.top_p=0.0"]).unwrap_err().to_string();
        assert!(refused.contains("top-p 0 is refused"), "{refused}");
    }
}
