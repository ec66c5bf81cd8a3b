use burn::tensor::{Device, Tensor};
use discrete_diffusion::samplers::{KnownPredictor, MaskedPredictor, Predictor, SampleError};
use pgm_model::LanguageModel;

/// A masked or partition network as samplers see it: an MDLM runs over all positions, a PGM over the known ones and
/// those in question.
#[derive(Debug, Clone, Copy)]
pub struct NetworkPredictor<'a> {
    /// The network.
    pub network: &'a LanguageModel,
    /// The id of MASK.
    pub mask_token: usize,
}

impl Predictor for NetworkPredictor<'_> {
    /// # Panics
    /// Panics for autoregressive networks, which predict no hidden positions.
    fn logits(
        &self,
        sequences: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError> {
        match self.network {
            LanguageModel::Partition(denoiser) => {
                KnownPredictor { denoiser }.logits(sequences, positions, device)
            }
            LanguageModel::Masked(denoiser) => MaskedPredictor {
                denoiser,
                mask_token: self.mask_token as u32,
            }
            .logits(sequences, positions, device),
            LanguageModel::Causal(_) => panic!("an autoregressive network has no hidden positions"),
        }
    }
}
