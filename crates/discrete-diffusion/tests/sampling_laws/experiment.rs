//! Samplers on the tiny denoiser.

use std::ops::ControlFlow;

use burn::tensor::Device;
use discrete_diffusion::TokenSampler;
use discrete_diffusion::samplers::{
    AutoregressiveSampler, Context, DiffusionSampler, KnownPredictor, MaskedPredictor,
    MdlmPublished, PartitionPredictor, PredictionUse, RevealOrder, RevealSchedule, SampleError,
    SampleRequest, Samples, SamplingProgress,
};

use crate::laws::ONLY_BOS;
use crate::statistics::Counts;
use crate::tiny_denoiser::{Known, MASK, TinyDenoiser};

const N_SEQUENCES: usize = 20_000;

/// Who predicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Network {
    Mdlm,
    PgmNaive,
    PgmKnown,
}

pub const NETWORKS: [Network; 3] = [Network::Mdlm, Network::PgmNaive, Network::PgmKnown];

#[derive(Debug, Clone, Copy)]
pub enum Sampler {
    Diffusion(Network, DiffusionSampler),
    Published(MdlmPublished),
    Autoregressive(AutoregressiveSampler),
}

pub fn scheduled(network: Network, schedule: RevealSchedule, n_steps: usize) -> Sampler {
    Sampler::Diffusion(network, DiffusionSampler::new(schedule, n_steps))
}

pub fn ordered(
    network: Network,
    schedule: RevealSchedule,
    n_steps: usize,
    order: RevealOrder,
) -> Sampler {
    let sampler = DiffusionSampler::new(schedule, n_steps);
    Sampler::Diffusion(network, DiffusionSampler { order, ..sampler })
}

/// In blocks, with an order.
pub fn in_blocks(
    network: Network,
    schedule: RevealSchedule,
    n_steps: usize,
    block_length: usize,
    order: RevealOrder,
) -> Sampler {
    let sampler = DiffusionSampler {
        schedule,
        order,
        n_steps,
        block_length: Some(block_length),
    };
    Sampler::Diffusion(network, sampler)
}

pub fn published(n_steps: usize, prediction_use: PredictionUse) -> Sampler {
    Sampler::Published(MdlmPublished {
        n_steps,
        prediction_use,
    })
}

pub fn autoregressive() -> Sampler {
    Sampler::Autoregressive(AutoregressiveSampler::default())
}

impl Sampler {
    pub fn sample(self, request: &SampleRequest) -> Result<Samples, SampleError> {
        self.sample_with(request, &mut |_| ControlFlow::Continue(()))
    }

    pub fn sample_with(
        self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(SamplingProgress) -> ControlFlow<()>,
    ) -> Result<Samples, SampleError> {
        let tiny = TinyDenoiser::default();
        let denoiser = &tiny;
        let masked = MaskedPredictor {
            denoiser,
            mask_token: MASK as u32,
        };
        let samples = match self {
            Self::Diffusion(Network::Mdlm, sampler) => sampler.sample(&masked, request, progress),
            Self::Diffusion(Network::PgmNaive, sampler) => {
                sampler.sample(&PartitionPredictor { denoiser }, request, progress)
            }
            Self::Diffusion(Network::PgmKnown, sampler) => {
                sampler.sample(&KnownPredictor { denoiser }, request, progress)
            }
            Self::Published(sampler) => sampler.sample(&masked, request, progress),
            Self::Autoregressive(sampler) => sampler.sample(denoiser, request, progress),
        }?;
        assert_eq!(samples.network_evaluations, tiny.n_evaluations.get());
        Ok(samples)
    }

    /// Sequences from BOS alone.
    pub fn count(self, seed: u64) -> Counts {
        self.count_from(ONLY_BOS, tokens_at(1.0), seed)
    }

    /// More sequences from BOS alone, to tell laws that differ little.
    pub fn count_many(self, seed: u64) -> Counts {
        self.count_n(10 * N_SEQUENCES, ONLY_BOS, tokens_at(1.0), seed)
    }

    /// Sequences from a context, drawn with a token sampler. Sequences that end early have `None`
    /// behind their end.
    pub fn count_from(self, known: Known, tokens: TokenSampler, seed: u64) -> Counts {
        self.count_n(N_SEQUENCES, known, tokens, seed)
    }

    fn count_n(self, n: usize, known: Known, tokens: TokenSampler, seed: u64) -> Counts {
        let device = Device::flex();
        let contexts = vec![context(known); n];
        let request = SampleRequest {
            tokens,
            ..request(&contexts, seed, &device)
        };
        let mut counts = Counts::new();
        for sequence in self.sample(&request).expect("samples").sequences {
            *counts.entry(known_of(&sequence)).or_insert(0) += 1;
        }
        counts
    }
}

pub fn context(known: Known) -> Context {
    Context::from(known.map(|token| token.map(|t| t as u32)).to_vec())
}

/// A sequence as something wholly known.
pub fn known_of(sequence: &[u32]) -> Known {
    std::array::from_fn(|i| sequence.get(i).map(|&token| token as usize))
}

/// Draws at a temperature, and never MASK.
pub fn tokens_at(temperature: f64) -> TokenSampler {
    let sampler = TokenSampler::new(temperature).expect("a temperature");
    sampler.excluding(MASK)
}

pub fn request<'a>(contexts: &'a [Context], seed: u64, device: &'a Device) -> SampleRequest<'a> {
    SampleRequest {
        contexts,
        tokens: tokens_at(1.0),
        seed,
        first_sequence: 0,
        device,
    }
}
