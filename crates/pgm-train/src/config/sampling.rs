use pgm_eval::SamplerKind;
use serde::{Deserialize, Serialize};

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
