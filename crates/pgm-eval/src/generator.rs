use burn::tensor::Device;
use discrete_diffusion::TokenSampler;
use discrete_diffusion::samplers::{
    AutoregressiveSampler, MdlmAncestral, PgmNaive, PgmUniform, SampleRequest,
};
use pgm_model::LanguageModel;
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// How sequences are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplerKind {
    /// PGM: the same number of positions in every step, known tokens only.
    Uniform,
    /// PGM: the forward pass of training at full length.
    Naive,
    /// MDLM: ancestral sampling.
    Ancestral,
    /// AR: token after token.
    Autoregressive,
}

impl SamplerKind {
    /// The sampler for a model unless another is asked for.
    pub fn default_for(model: &LanguageModel) -> Self {
        match model {
            LanguageModel::Partition(_) => Self::Uniform,
            LanguageModel::Masked(_) => Self::Ancestral,
            LanguageModel::Causal(_) => Self::Autoregressive,
        }
    }

    /// The name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Naive => "naive",
            Self::Ancestral => "ancestral",
            Self::Autoregressive => "autoregressive",
        }
    }
}

/// Draws sequences from a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Generator {
    /// The sampler; `None` for the model's usual one.
    pub sampler: Option<SamplerKind>,
    /// Sequences to draw.
    pub n_sequences: usize,
    /// Sequences drawn at once; the result does not depend on it.
    pub batch_size: usize,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// Sampling steps; autoregressive models take one a token.
    pub n_steps: usize,
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f64,
    /// Seed of all draws.
    pub seed: u64,
    /// The token at position 0.
    pub bos_token: u32,
    /// The id of MASK, which is never drawn.
    pub mask_token: u32,
}

/// Sequences and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// `n_sequences` sequences of `seq_len` tokens.
    pub sequences: Vec<Vec<u32>>,
    /// Network evaluations, added up over batches.
    pub network_evaluations: usize,
    /// The sampler that was used.
    pub sampler: SamplerKind,
}

impl Generator {
    /// Draws the sequences; `progress` hears of steps done and of all, over all batches, and stops
    /// the work by returning false.
    ///
    /// # Errors
    /// When a size is 0, the sampler does not fit the model, the network's output cannot be used,
    /// or the work is stopped.
    pub fn generate(
        &self,
        model: &LanguageModel,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Generated, EvalError> {
        let sampler = self
            .sampler
            .unwrap_or_else(|| SamplerKind::default_for(model));
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("n_sequences", self.n_sequences),
        ] {
            if value == 0 {
                return Err(EvalError::Zero { name });
            }
        }
        let tokens = TokenSampler::new(self.temperature)
            .map_err(discrete_diffusion::samplers::SampleError::from)?
            .excluding(self.mask_token as usize);
        let n_batches = self.n_sequences.div_ceil(self.batch_size);
        let mut sequences = Vec::with_capacity(self.n_sequences);
        let mut network_evaluations = 0;
        for batch in 0..n_batches {
            let first = batch * self.batch_size;
            let request = SampleRequest {
                n_sequences: self.batch_size.min(self.n_sequences - first),
                seq_len: self.seq_len,
                bos_token: self.bos_token,
                tokens,
                seed: self.seed,
                first_sequence: first as u64,
                device,
            };
            let mut is_stopped = false;
            let mut step = |done: usize, total: usize| {
                is_stopped |= !progress(batch * total + done, n_batches * total);
            };
            let samples = match (model, sampler) {
                (LanguageModel::Partition(network), SamplerKind::Uniform) => PgmUniform {
                    n_steps: self.n_steps,
                }
                .sample(network, &request, &mut step)?,
                (LanguageModel::Partition(network), SamplerKind::Naive) => PgmNaive {
                    n_steps: self.n_steps,
                }
                .sample(network, &request, &mut step)?,
                (LanguageModel::Masked(network), SamplerKind::Ancestral) => MdlmAncestral {
                    n_steps: self.n_steps,
                    mask_token: self.mask_token,
                }
                .sample(network, &request, &mut step)?,
                (LanguageModel::Causal(network), SamplerKind::Autoregressive) => {
                    AutoregressiveSampler.sample(network, &request, &mut step)?
                }
                _ => {
                    return Err(EvalError::Sampler {
                        sampler: sampler.name(),
                        wanted: match model {
                            LanguageModel::Partition(_) => "`uniform`, `naive`",
                            LanguageModel::Masked(_) => "`ancestral`",
                            LanguageModel::Causal(_) => "`autoregressive`",
                        },
                    });
                }
            };
            if is_stopped {
                return Err(EvalError::Interrupted);
            }
            sequences.extend(samples.sequences);
            network_evaluations += samples.network_evaluations;
        }
        Ok(Generated {
            sequences,
            network_evaluations,
            sampler,
        })
    }
}
