use discrete_diffusion::TokenSampler;
use discrete_diffusion::samplers::{
    DiffusionSampler, Remasking, RevealOrder, RevealSchedule, SampleError,
};
use serde::{Deserialize, Serialize};

use crate::SamplerKind;

/// How sequences are drawn, for all models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSettings {
    /// Sampling steps; autoregressive models take one a token.
    pub n_steps: usize,
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f64,
    /// Draws from so many most likely tokens; from all if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Draws from the most likely tokens that together have this probability; from all if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The sampler; the model's usual one if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<SamplerKind>,
    /// Which positions are revealed first; if left out the lowest entropy for
    /// [`SamplerKind::EntropyBound`], a random choice for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<RevealOrder>,
    /// Reveals blocks of so many positions from the left, the first one behind the prompt; all at
    /// once if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_length: Option<usize>,
    /// The bound of [`SamplerKind::EntropyBound`], in nats.
    pub entropy_bound: f64,
    /// How readily the remasking samplers hide a token again, in `[0, 1]`.
    pub remask_eta: f64,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self {
            n_steps: 128,
            temperature: 1.0,
            top_k: None,
            top_p: None,
            sampler: None,
            order: None,
            block_length: None,
            entropy_bound: 0.1,
            remask_eta: 0.01,
        }
    }
}

impl SamplingSettings {
    /// # Errors
    /// When a setting is out of its range.
    pub fn check(&self) -> Result<(), SampleError> {
        self.tokens()?;
        for kind in [SamplerKind::EntropyBound, SamplerKind::RemaskCap] {
            self.diffusion(kind).check()?;
        }
        Ok(())
    }

    /// What settings mean whose names allow another reading, to be filed with results. Results with
    /// other definitions are those of other settings.
    pub fn definitions(&self) -> Vec<&'static str> {
        let confidence = (self.order == Some(RevealOrder::Confidence))
            .then_some("confidence is the probability of the drawn token");
        let blocks = self
            .block_length
            .map(|_| "blocks start at the first hidden position");
        confidence.into_iter().chain(blocks).collect()
    }

    /// How a token is drawn from its logits.
    pub(crate) fn tokens(&self) -> Result<TokenSampler, SampleError> {
        let mut tokens = TokenSampler::new(self.temperature)?;
        if let Some(top_k) = self.top_k {
            tokens = tokens.with_top_k(top_k)?;
        }
        if let Some(top_p) = self.top_p {
            tokens = tokens.with_top_p(top_p)?;
        }
        Ok(tokens)
    }

    pub(crate) fn diffusion(&self, kind: SamplerKind) -> DiffusionSampler {
        let schedule = match kind {
            SamplerKind::Uniform => RevealSchedule::Even,
            SamplerKind::NonUniformPublished => RevealSchedule::BinomialPublished,
            SamplerKind::EntropyBound => RevealSchedule::EntropyBound(self.entropy_bound),
            SamplerKind::RemaskCap => RevealSchedule::Remasking(Remasking::Cap(self.remask_eta)),
            SamplerKind::RemaskRescale => {
                RevealSchedule::Remasking(Remasking::Rescale(self.remask_eta))
            }
            _ => RevealSchedule::Binomial,
        };
        let usual_order = match kind {
            SamplerKind::EntropyBound => RevealOrder::Entropy,
            _ => RevealOrder::Random,
        };
        DiffusionSampler {
            schedule,
            order: self.order.unwrap_or(usual_order),
            n_steps: self.n_steps,
            block_length: self.block_length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_by_their_names() {
        for (name, order) in [
            ("random", RevealOrder::Random),
            ("confidence", RevealOrder::Confidence),
            ("max-probability", RevealOrder::MaxProbability),
            ("margin", RevealOrder::Margin),
            ("entropy", RevealOrder::Entropy),
        ] {
            let text = format!("\"{name}\"");
            assert_eq!(serde_json::from_str::<RevealOrder>(&text).unwrap(), order);
            assert_eq!(serde_json::to_string(&order).unwrap(), text);
        }
    }

    #[test]
    fn ambiguous_settings_bring_their_definitions() {
        let settings = SamplingSettings {
            order: Some(RevealOrder::MaxProbability),
            ..SamplingSettings::default()
        };
        assert!(settings.definitions().is_empty());
        let settings = SamplingSettings {
            order: Some(RevealOrder::Confidence),
            block_length: Some(8),
            ..settings
        };
        let expected = [
            "confidence is the probability of the drawn token",
            "blocks start at the first hidden position",
        ];
        assert_eq!(settings.definitions(), expected);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let settings = SamplingSettings::default();
        assert_eq!(settings.check(), Ok(()));
        let refused = |settings: SamplingSettings| settings.check().unwrap_err().to_string();
        let text = refused(SamplingSettings {
            top_p: Some(1.5),
            ..settings.clone()
        });
        assert!(text.contains("top-p 1.5"), "{text}");
        let text = refused(SamplingSettings {
            remask_eta: -0.1,
            ..settings.clone()
        });
        assert!(text.contains("`remask_eta` is -0.1"), "{text}");
        let text = refused(SamplingSettings {
            block_length: Some(0),
            ..settings
        });
        assert_eq!(text, "`block_length` is 0, it has to be at least 1");
    }
}
