mod sections;

pub use sections::{
    Directions, DistillTrainingSection, DistillationSection, OptimizerAtRound, TeacherSection,
    TeacherSource, TeacherWeights,
};

use pgm_generation::SamplingSettings;
use pgm_train::{
    CheckpointChoice, DataSection, EvaluationSection, ExperimentConfig, ModelDescription,
    ObjectiveKind, OptimizerSection, TrainError, TrainingSection, parse_toml,
};
use serde::{Deserialize, Serialize};

use crate::RoundSchedule;

/// A distillation. Tables and keys that are left out take their defaults; unknown ones are refused. Objective and
/// network are the teacher's, and so is the text of one that is a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillConfig {
    /// Names the folder of the run.
    pub name: String,
    /// Seed of all random numbers.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where to begin.
    pub teacher: TeacherSection,
    /// The text, if the teacher is a file with weights; a run has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataSection>,
    /// Rounds and the loss.
    #[serde(default)]
    pub distillation: DistillationSection,
    /// Adam and what goes with it.
    #[serde(default)]
    pub optimizer: OptimizerSection,
    /// Batches and checkpoints.
    #[serde(default)]
    pub training: DistillTrainingSection,
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

impl DistillConfig {
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

    /// Rounds and step sizes.
    pub fn schedule(&self) -> RoundSchedule {
        RoundSchedule {
            n_rounds: self.distillation.n_rounds,
            steps_per_round: self.distillation.steps_per_round,
            teacher_steps: self.distillation.teacher_steps,
            first_sampling_steps: self.distillation.first_sampling_steps,
            min_sampling_steps: self.distillation.min_sampling_steps,
        }
    }

    /// The learning rate of the update after `step` optimizer steps. It warms up once, or in each round if the
    /// optimizer is reset.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let schedule = self.schedule();
        match self.distillation.optimizer_at_round {
            OptimizerAtRound::Kept => self.optimizer.learning_rate_at(step, schedule.n_steps()),
            OptimizerAtRound::Reset => {
                let n_steps = schedule.steps_per_round;
                self.optimizer.learning_rate_at(step % n_steps, n_steps)
            }
        }
    }

    /// The student as a run: `base` describes the teacher, `data` the text.
    ///
    /// # Errors
    /// When the teacher is autoregressive or a value cannot be used.
    pub fn experiment(
        &self,
        base: &ModelDescription,
        data: DataSection,
    ) -> Result<ExperimentConfig, TrainError> {
        if base.objective.kind == ObjectiveKind::Ar {
            return Err(TrainError::Value {
                key: "teacher",
                value: "an autoregressive model".into(),
                wanted: "a PGM or an MDLM, which predict hidden positions",
            });
        }
        let config = ExperimentConfig {
            name: self.name.clone(),
            seed: self.seed,
            data,
            objective: base.objective.clone(),
            model: base.model.clone(),
            optimizer: self.optimizer.clone(),
            training: TrainingSection {
                n_steps: self.schedule().n_steps(),
                batch_size: self.training.batch_size,
                micro_batch_size: self.training.micro_batch_size,
                log_every: self.training.log_every,
                checkpoint_every: self.training.checkpoint_every,
                keep_checkpoints: self.training.keep_checkpoints,
                // The student of each round is kept, and perplexity is no measure of it.
                keep_best: 0,
            },
            evaluation: self.evaluation.clone(),
            sampling: self.sampling.clone(),
        };
        config.validate()?;
        Ok(config)
    }

    /// # Errors
    /// When a value cannot be used.
    pub fn validate(&self) -> Result<(), TrainError> {
        let value = |key, value: String, wanted| Err(TrainError::Value { key, value, wanted });
        let section = &self.distillation;
        let counts = [
            ("distillation.n_rounds", section.n_rounds),
            ("distillation.steps_per_round", section.steps_per_round),
            (
                "distillation.first_sampling_steps",
                section.first_sampling_steps,
            ),
            (
                "distillation.min_sampling_steps",
                section.min_sampling_steps,
            ),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return value(key, "0".into(), "at least 1");
        }
        if section.teacher_steps < 2 {
            return value(
                "distillation.teacher_steps",
                section.teacher_steps.to_string(),
                "at least 2: of one step there is nothing to learn",
            );
        }
        if self.schedule().rounds() == 0 {
            return value(
                "distillation.min_sampling_steps",
                section.min_sampling_steps.to_string(),
                "at most `distillation.first_sampling_steps`, or there is no round",
            );
        }
        match (self.teacher.source()?, &self.data) {
            (TeacherSource::Run(_), Some(_)) => {
                return value(
                    "data",
                    "there".into(),
                    "none: the text is that of `teacher.run`",
                );
            }
            (TeacherSource::Weights(_), None) => {
                return value(
                    "data",
                    "missing".into(),
                    "`inputs`, `tokenizer` and `seq_len`: `teacher.weights_file` comes without text",
                );
            }
            _ => {}
        }
        self.teacher_checkpoint().map(|_| ())
    }

    /// Which checkpoint of the teacher to begin with.
    ///
    /// # Errors
    /// When it is no choice.
    pub fn teacher_checkpoint(&self) -> Result<CheckpointChoice, TrainError> {
        let choice = self.teacher.checkpoint.parse();
        choice.map_err(|_: String| TrainError::Value {
            key: "teacher.checkpoint",
            value: format!("`{}`", self.teacher.checkpoint),
            wanted: "\"last\", \"best\" or a step, in quotes",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn with(overrides: &[&str]) -> Result<DistillConfig, TrainError> {
        let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
        DistillConfig::from_toml("name = \"x\"\n[teacher]\nrun = \"runs/x\"\n", &overrides)
    }

    #[test]
    fn every_default_is_written_out_and_read_again() {
        let config = with(&["distillation.divergence=mse", "distillation.n_rounds=3"]).unwrap();
        assert_eq!(config.schedule().n_steps(), 30_000);
        assert_eq!(
            DistillConfig::from_toml(&config.to_toml(), &[]).unwrap(),
            config
        );
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_named() {
        for (setting, words) in [
            ("distillation.divergance=mse", "did you mean `divergence`?"),
            ("distillation.divergence=kl", "kl-backward"),
            ("distillation.teacher_steps=1", "at least 2"),
            ("distillation.min_sampling_steps=2000", "there is no round"),
            ("training.n_steps=5", "unknown field `n_steps`"),
            ("teacher.checkpoint=newest", "a step, in quotes"),
            ("teacher.weights_file=x.ckpt", "one of the two"),
            (
                "data={inputs=[\"bundled\"],tokenizer=\"gpt2\",seq_len=8}",
                "the text is that of `teacher.run`",
            ),
        ] {
            let error = with(&[setting]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_file_with_weights_wants_text() {
        let text = "name = \"x\"\n[teacher]\nweights_file = \"x.ckpt\"\n";
        let error = DistillConfig::from_toml(text, &[]).unwrap_err().to_string();
        assert!(error.contains("comes without text"), "{error}");
        let text =
            format!("{text}[data]\ninputs = [\"bundled\"]\ntokenizer = \"gpt2\"\nseq_len = 8\n");
        let config = DistillConfig::from_toml(&text, &[]).unwrap();
        let source = config.teacher.source().unwrap();
        assert_eq!(source, TeacherSource::Weights(Path::new("x.ckpt")));
    }

    #[test]
    fn a_reset_optimizer_warms_up_in_each_round() {
        let kept = with(&["optimizer.warmup_steps=100"]).unwrap();
        assert_eq!(kept.learning_rate_at(50), 1.5e-4);
        assert_eq!(kept.learning_rate_at(10_050), 3e-4);
        let reset = [
            "optimizer.warmup_steps=100",
            "distillation.optimizer_at_round=reset",
        ];
        assert_eq!(with(&reset).unwrap().learning_rate_at(10_050), 1.5e-4);
    }
}
