use serde::{Deserialize, Serialize};

use crate::error::JudgeConfigError;
use crate::rope_scaling::RopeScaling;

/// Rotary frequencies of a [`LlamaConfig`](crate::LlamaConfig), by the names of the `transformers` library.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RopeParameters {
    /// The base.
    pub rope_theta: Option<f64>,
    /// `default`, `linear`, `llama3` or `yarn`; which of the fields below are read depends on it.
    pub rope_type: Option<String>,
    /// What older files call `rope_type`. Some have both; then the other holds.
    #[serde(rename = "type")]
    pub old_rope_type: Option<String>,
    /// How many times slower waves are. For YaRN it may be left out: it is the ratio of the lengths then.
    pub factor: Option<f64>,
    /// Llama 3: waves that fit less often than this into the original length are long.
    pub low_freq_factor: Option<f64>,
    /// Llama 3: waves that fit more often than this into the original length stay as they are.
    pub high_freq_factor: Option<f64>,
    /// Longest sequence the network was trained on before its frequencies were changed, in tokens; the longest that it
    /// reads if left out.
    pub original_max_position_embeddings: Option<usize>,
    /// YaRN: what queries and keys are multiplied by; `0.1 ln factor + 1` if left out.
    pub attention_factor: Option<f64>,
    /// YaRN: waves that fit more often than this into the original length stay as they are; 32 if left out.
    pub beta_fast: Option<f64>,
    /// YaRN: waves that fit less often than this into the original length are slowed down in full; 1 if left out.
    pub beta_slow: Option<f64>,
    /// YaRN: with the next, another way to say `attention_factor`: `(0.1 mscale ln factor + 1)`, divided by the same
    /// with `mscale_all_dim`.
    pub mscale: Option<f64>,
    /// See `mscale`.
    pub mscale_all_dim: Option<f64>,
    /// YaRN: whether the ramp begins and ends at whole pairs of features, as it does if left out.
    pub truncate: Option<bool>,
}

impl RopeParameters {
    /// Its type; what says none is plain.
    pub(crate) fn kind(&self) -> &str {
        let kind = self.rope_type.as_ref().or(self.old_rope_type.as_ref());
        kind.map_or("default", String::as_str)
    }

    /// What is done to the frequencies of a network that reads `max_length` tokens.
    pub(crate) fn scaling(&self, max_length: usize) -> Result<RopeScaling, JudgeConfigError> {
        let length = self.original_max_position_embeddings.unwrap_or(max_length) as f64;
        match self.kind() {
            "default" => Ok(RopeScaling::Plain),
            "linear" => Ok(RopeScaling::Linear {
                factor: self.number("factor", self.factor)?,
            }),
            "llama3" => self.llama3(length),
            "yarn" => self.yarn(length, max_length as f64),
            other => Err(JudgeConfigError::Variant {
                name: "rope_type".into(),
                found: other.to_owned(),
                wanted: "default`, `linear`, `llama3` or `yarn",
            }),
        }
    }

    fn llama3(&self, length: f64) -> Result<RopeScaling, JudgeConfigError> {
        let low = self.number("low_freq_factor", self.low_freq_factor)?;
        let high = self.number("high_freq_factor", self.high_freq_factor)?;
        let length = self.number("original_max_position_embeddings", Some(length))?;
        let factor = self.number("factor", self.factor)?;
        if low >= high {
            return Err(self.refused(format!(
                "`low_freq_factor` {low} has to be below `high_freq_factor` {high}"
            )));
        }
        Ok(RopeScaling::Llama3 {
            factor,
            low,
            high,
            length,
        })
    }

    fn yarn(&self, length: f64, max_length: f64) -> Result<RopeScaling, JudgeConfigError> {
        // `transformers` takes the default for 0, too.
        let given = |value: Option<f64>| value.filter(|value| *value != 0.0);
        let length = self.number("original_max_position_embeddings", Some(length))?;
        let factor = self.factor.unwrap_or(max_length / length);
        let factor = self.number("factor", Some(factor))?;
        let fast = self.number("beta_fast", given(self.beta_fast).or(Some(32.0)))?;
        let slow = self.number("beta_slow", given(self.beta_slow).or(Some(1.0)))?;
        if fast < slow {
            return Err(self.refused(format!(
                "`beta_fast` {fast} has to be at least `beta_slow` {slow}"
            )));
        }
        let amplitude = |mscale| RopeScaling::yarn_amplitude(factor, mscale);
        let default = match (given(self.mscale), given(self.mscale_all_dim)) {
            (Some(mscale), Some(all)) => amplitude(mscale) / amplitude(all),
            _ => amplitude(1.0),
        };
        let attention_factor = self.attention_factor.unwrap_or(default);
        Ok(RopeScaling::Yarn {
            factor,
            amplitude: self.number("attention_factor", Some(attention_factor))?,
            fast,
            slow,
            length,
            is_ramp_whole: self.truncate.unwrap_or(true),
        })
    }

    fn number(&self, name: &'static str, value: Option<f64>) -> Result<f64, JudgeConfigError> {
        match value {
            Some(value) if value > 0.0 && value.is_finite() => Ok(value),
            Some(value) => Err(self.refused(format!("`{name}` is {value}, it has to be above 0"))),
            None => Err(self.refused(format!("`{name}` is missing"))),
        }
    }

    fn refused(&self, reason: String) -> JudgeConfigError {
        JudgeConfigError::Frequencies {
            kind: self.kind().to_owned(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(json: &str) -> RopeParameters {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_type_has_two_names_and_the_newer_one_holds() {
        for (json, wanted) in [
            ("{}", "default"),
            (r#"{"type": "linear"}"#, "linear"),
            (r#"{"rope_type": "yarn"}"#, "yarn"),
            (r#"{"type": "linear", "rope_type": "llama3"}"#, "llama3"),
            (r#"{"rope_type": "llama3", "type": "llama3"}"#, "llama3"),
        ] {
            assert_eq!(parameters(json).kind(), wanted);
        }
    }

    #[test]
    fn what_yarn_leaves_out_is_the_default_of_transformers() {
        let scaling = |json: &str| parameters(json).scaling(64).unwrap();
        // 64 tokens from 16: a factor of 4.
        assert_eq!(
            scaling(r#"{"type": "yarn", "original_max_position_embeddings": 16, "beta_fast": 0}"#),
            RopeScaling::Yarn {
                factor: 4.0,
                amplitude: 0.1 * 4f64.ln() + 1.0,
                fast: 32.0,
                slow: 1.0,
                length: 16.0,
                is_ramp_whole: true,
            }
        );
        let all = r#"{"type": "yarn", "factor": 8, "beta_fast": 16, "beta_slow": 2, "truncate": false,
            "attention_factor": 1.5, "mscale": 2, "mscale_all_dim": 1}"#;
        assert_eq!(
            scaling(all),
            RopeScaling::Yarn {
                factor: 8.0,
                amplitude: 1.5,
                fast: 16.0,
                slow: 2.0,
                length: 64.0,
                is_ramp_whole: false,
            }
        );
        let quotient = scaling(&all.replace(r#""attention_factor": 1.5,"#, ""));
        let wanted = (0.2 * 8f64.ln() + 1.0) / (0.1 * 8f64.ln() + 1.0);
        assert_eq!(quotient.amplitude(), wanted);
        let one_alone = scaling(r#"{"type": "yarn", "factor": 8, "mscale": 2}"#);
        assert_eq!(one_alone.amplitude(), 0.1 * 8f64.ln() + 1.0);
    }

    #[test]
    fn numbers_that_make_no_frequencies_are_refused() {
        let llama3 = r#""rope_type": "llama3", "low_freq_factor": 1, "high_freq_factor": 4"#;
        for (json, wanted) in [
            (
                format!("{{{llama3}}}"),
                "its rotary frequencies of type `llama3` cannot be made: `factor` is missing",
            ),
            (
                format!(r#"{{{llama3}, "factor": 8, "original_max_position_embeddings": 0}}"#),
                "`original_max_position_embeddings` is 0, it has to be above 0",
            ),
            (
                format!(r#"{{{}, "factor": 8}}"#, llama3.replace('1', "4")),
                "`low_freq_factor` 4 has to be below `high_freq_factor` 4",
            ),
            (
                r#"{"type": "linear"}"#.into(),
                "its rotary frequencies of type `linear` cannot be made: `factor` is missing",
            ),
            (
                r#"{"type": "yarn", "factor": -2}"#.into(),
                "`factor` is -2, it has to be above 0",
            ),
            (
                r#"{"type": "yarn", "factor": 2, "beta_fast": 1, "beta_slow": 2}"#.into(),
                "`beta_fast` 1 has to be at least `beta_slow` 2",
            ),
            (
                r#"{"type": "longrope"}"#.into(),
                "`rope_type` is `longrope`, only `default`, `linear`, `llama3` or `yarn` is supported",
            ),
        ] {
            let error = parameters(&json).scaling(64).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
