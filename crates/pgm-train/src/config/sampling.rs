use pgm_eval::SamplingSettings;
use serde::{Deserialize, Serialize};

/// Samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSection {
    /// Sequences drawn in the end.
    pub n_sequences: usize,
    /// How they are drawn.
    #[serde(flatten)]
    pub settings: SamplingSettings,
}

impl Default for SamplingSection {
    fn default() -> Self {
        Self {
            n_sequences: 4,
            settings: SamplingSettings::default(),
        }
    }
}
