use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use super::judge_config::JudgeConfigError;

/// The type of frequencies that are no others than those of the base.
const PLAIN: &str = "default";

/// The type of Llama 3.1 and later.
const LLAMA3: &str = "llama3";

/// Rotary frequencies of a [`LlamaConfig`](super::LlamaConfig).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// The base.
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// `default`, or `llama3`, which slows the frequencies of long waves down and needs the fields below.
    #[serde(default = "plain", alias = "type")]
    pub rope_type: String,
    /// How many times slower the long waves are.
    #[serde(default)]
    pub factor: Option<f64>,
    /// Waves that fit less often than this into the original length are long.
    #[serde(default)]
    pub low_freq_factor: Option<f64>,
    /// Waves that fit more often than this into the original length stay as they are.
    #[serde(default)]
    pub high_freq_factor: Option<f64>,
    /// Longest sequence the network was trained on before its frequencies were changed, in tokens.
    #[serde(default)]
    pub original_max_position_embeddings: Option<usize>,
}

fn plain() -> String {
    PLAIN.to_owned()
}

/// The numbers of type `llama3`.
struct Slowing {
    factor: f64,
    low: f64,
    high: f64,
    length: f64,
}

impl RopeParameters {
    pub(super) fn validate(&self) -> Result<(), JudgeConfigError> {
        match self.rope_type.as_str() {
            PLAIN => Ok(()),
            LLAMA3 => self.slowing().map(drop),
            other => Err(JudgeConfigError::Variant {
                name: "rope_type",
                found: other.to_owned(),
                wanted: "default` or `llama3",
            }),
        }
    }

    fn slowing(&self) -> Result<Slowing, JudgeConfigError> {
        let number = |name: &'static str, value: Option<f64>| match value {
            Some(value) if value > 0.0 && value.is_finite() => Ok(value),
            Some(value) => Err(JudgeConfigError::Frequencies(format!(
                "`{name}` is {value}, it has to be above 0"
            ))),
            None => Err(JudgeConfigError::Frequencies(format!(
                "`{name}` is missing"
            ))),
        };
        let length = self.original_max_position_embeddings;
        let slowing = Slowing {
            factor: number("factor", self.factor)?,
            low: number("low_freq_factor", self.low_freq_factor)?,
            high: number("high_freq_factor", self.high_freq_factor)?,
            length: number("original_max_position_embeddings", length.map(|n| n as f64))?,
        };
        match slowing.low < slowing.high {
            true => Ok(slowing),
            false => Err(JudgeConfigError::Frequencies(format!(
                "`low_freq_factor` {} has to be below `high_freq_factor` {}",
                slowing.low, slowing.high
            ))),
        }
    }

    /// What the frequencies, in radians a token, become.
    ///
    /// # Panics
    /// Panics if [`Self::validate`] refuses the parameters.
    pub(super) fn apply(&self, frequencies: &mut [f64]) {
        if self.rope_type != LLAMA3 {
            return;
        }
        let Slowing {
            factor,
            low,
            high,
            length,
        } = self.slowing().unwrap_or_else(|error| panic!("{error}"));
        for frequency in frequencies {
            // How often the wave fits into the original length; in between, the change is gradual.
            let n_waves = length * *frequency / TAU;
            let kept = ((n_waves - low) / (high - low)).clamp(0.0, 1.0);
            *frequency *= kept + (1.0 - kept) / factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama3() -> RopeParameters {
        serde_json::from_str(
            r#"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192}"#,
        )
        .unwrap()
    }

    #[test]
    fn long_waves_are_slowed_and_short_ones_stay() {
        // 5, 2.5 and 0.5 waves in 8192 tokens: kept, half way between 1 and 1/8, and an eighth.
        let mut frequencies = [5.0, 2.5, 0.5].map(|n_waves| TAU * n_waves / 8192.0);
        let before = frequencies;
        llama3().apply(&mut frequencies);
        let ratios: Vec<f64> = frequencies.iter().zip(before).map(|(a, b)| a / b).collect();
        for (ratio, wanted) in ratios.iter().zip([1.0, 0.5625, 0.125]) {
            assert!((ratio - wanted).abs() < 1e-12, "{ratios:?}");
        }
        let mut plain = before;
        RopeParameters {
            rope_type: PLAIN.to_owned(),
            ..llama3()
        }
        .apply(&mut plain);
        assert_eq!(plain, before);
    }

    #[test]
    fn numbers_that_slow_nothing_are_refused() {
        let refused = |parameters: RopeParameters| parameters.validate().unwrap_err().to_string();
        assert!(llama3().validate().is_ok());
        for (parameters, wanted) in [
            (
                RopeParameters {
                    factor: None,
                    ..llama3()
                },
                "`factor` is missing",
            ),
            (
                RopeParameters {
                    original_max_position_embeddings: Some(0),
                    ..llama3()
                },
                "`original_max_position_embeddings` is 0, it has to be above 0",
            ),
            (
                RopeParameters {
                    low_freq_factor: Some(4.0),
                    ..llama3()
                },
                "`low_freq_factor` 4 has to be below `high_freq_factor` 4",
            ),
            (
                RopeParameters {
                    rope_type: "yarn".into(),
                    ..llama3()
                },
                "`rope_type` is `yarn`, only `default` or `llama3` is supported",
            ),
        ] {
            let error = refused(parameters);
            assert!(error.contains(wanted), "{error}");
        }
    }
}
