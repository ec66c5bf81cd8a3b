use burn::tensor::Device;
use discrete_diffusion::objectives::{Cloze, TokenCost};
use discrete_diffusion::samplers::{CausalPredictor, KnownPredictor, MaskedPredictor, Predictor};
use pgm_model::LanguageModel;

use super::continuation::Continuation;
use crate::EvalError;

/// A model that says what hidden tokens cost.
#[derive(Debug, Clone, Copy)]
pub struct ClozeReader<'a> {
    /// The model.
    pub model: &'a LanguageModel,
    /// The id of MASK.
    pub mask_token: usize,
    /// Sequences that go through the network at once; the result does not depend on it, but for rounding.
    pub batch_size: usize,
    /// Where the model computes.
    pub device: &'a Device,
}

impl ClozeReader<'_> {
    /// Whether likelihoods are exact, as those of autoregressive models are.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self.model, LanguageModel::Causal(_))
    }

    /// Asks for the tokens at some places of a continuation, which are hidden. Autoregressive networks read what stands
    /// before each.
    pub(super) fn cloze(&self, continuation: &Continuation, places: Vec<usize>) -> Cloze {
        let tokens = &continuation.tokens;
        let mut sequence: Vec<_> = tokens.iter().copied().map(Some).collect();
        if !self.is_exact() {
            for &place in &places {
                sequence[place] = None;
            }
        }
        Cloze {
            targets: places.iter().map(|&place| tokens[place]).collect(),
            sequence,
            positions: places,
        }
    }

    /// What all targets cost, batch by batch. An MDLM has no padding, so that its batches are of one length; others
    /// go by length to waste little.
    pub(super) fn costs(&self, clozes: &[Cloze]) -> Result<Vec<Vec<TokenCost>>, EvalError> {
        if self.batch_size == 0 {
            return Err(EvalError::Zero { name: "batch_size" });
        }
        let masked;
        let known;
        let causal;
        let predictor: &dyn Predictor = match self.model {
            LanguageModel::Masked(denoiser) => {
                let mask_token = self.mask_token as u32;
                masked = MaskedPredictor {
                    denoiser,
                    mask_token,
                };
                &masked
            }
            LanguageModel::Partition(denoiser) => {
                known = KnownPredictor { denoiser };
                &known
            }
            LanguageModel::Causal(denoiser) => {
                causal = CausalPredictor { denoiser };
                &causal
            }
        };
        let length = |at: usize| clozes[at].sequence.len();
        // What asks for nothing costs nothing.
        let asking = (0..clozes.len()).filter(|&at| !clozes[at].positions.is_empty());
        let mut order: Vec<usize> = asking.collect();
        order.sort_by_key(|&at| length(at));
        let is_padded = !matches!(self.model, LanguageModel::Masked(_));
        let mut costs = vec![Vec::new(); clozes.len()];
        for group in order.chunk_by(|&a, &b| is_padded || length(a) == length(b)) {
            for batch in group.chunks(self.batch_size) {
                let asked: Vec<&Cloze> = batch.iter().map(|&at| &clozes[at]).collect();
                let answers = Cloze::costs(&asked, predictor, self.mask_token, self.device)?;
                for (&at, answer) in batch.iter().zip(answers) {
                    costs[at] = answer;
                }
            }
        }
        Ok(costs)
    }
}
