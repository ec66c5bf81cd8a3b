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

const CAUSAL: &str = "an autoregressive network has no hidden positions";

impl Predictor for NetworkPredictor<'_> {
    /// # Panics
    /// Panics for autoregressive networks, which predict no hidden positions.
    fn features(
        &self,
        sequences: &[&[Option<u32>]],
        positions: &[Vec<usize>],
        device: &Device,
    ) -> Result<Tensor<2>, SampleError> {
        match self.network {
            LanguageModel::Partition(denoiser) => {
                KnownPredictor { denoiser }.features(sequences, positions, device)
            }
            LanguageModel::Masked(denoiser) => MaskedPredictor {
                denoiser,
                mask_token: self.mask_token as u32,
            }
            .features(sequences, positions, device),
            LanguageModel::Causal(_) => panic!("{CAUSAL}"),
        }
    }

    /// # Panics
    /// As [`Self::features`].
    fn project(&self, features: Tensor<2>) -> Tensor<2> {
        match self.network {
            LanguageModel::Partition(network) => network.project(features),
            LanguageModel::Masked(network) => network.project(features),
            LanguageModel::Causal(_) => panic!("{CAUSAL}"),
        }
    }
}
