use burn::tensor::Device;
use discrete_diffusion::samplers::{
    AutoregressiveSampler, Context, KnownPredictor, MaskedPredictor, MdlmPublished,
    PartitionPredictor, PredictionUse, RevealOrder, SampleError, SampleRequest, Samples,
};
use pgm_model::LanguageModel;

use crate::{EvalError, SamplerKind, SamplingSettings};

/// Draws sequences from a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    /// How they are drawn.
    pub settings: SamplingSettings,
    /// Sequences drawn at once; the result does not depend on it.
    pub batch_size: usize,
    /// Seed of all draws.
    pub seed: u64,
    /// The id of MASK, which is never drawn.
    pub mask_token: u32,
    /// Ends a sequence, if it is drawn behind everything known; `None` draws to the end.
    pub eos_token: Option<u32>,
}

/// Sequences and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// One sequence a context.
    pub sequences: Vec<Vec<u32>>,
    /// Network evaluations, added up over batches.
    pub network_evaluations: usize,
    /// The sampler that was used.
    pub sampler: SamplerKind,
}

impl Generator {
    /// Draws a sequence for each context; `progress` hears of steps done and of all, over all
    /// batches, and stops the work by returning false.
    ///
    /// # Errors
    /// When there is no context, a setting cannot be used, the sampler does not fit the model or the
    /// contexts, the network's output cannot be used, or the work is stopped.
    pub fn generate(
        &self,
        model: &LanguageModel,
        contexts: &[Context],
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Generated, EvalError> {
        let sampler = self.sampler_for(model)?;
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("n_sequences", contexts.len()),
        ] {
            if value == 0 {
                return Err(EvalError::Zero { name });
            }
        }
        let tokens = self.settings.tokens()?.excluding(self.mask_token as usize);
        // Sequences of a batch have one length.
        let batches: Vec<&[Context]> = contexts
            .chunk_by(|a, b| a.seq_len() == b.seq_len())
            .flat_map(|equal| equal.chunks(self.batch_size))
            .collect();
        let mut sequences = Vec::with_capacity(contexts.len());
        let mut network_evaluations = 0;
        for (batch, contexts) in batches.iter().enumerate() {
            let request = SampleRequest {
                contexts,
                tokens,
                seed: self.seed,
                first_sequence: sequences.len() as u64,
                device,
            };
            let mut is_stopped = false;
            let mut step = |done: usize, total: usize| {
                is_stopped |= !progress(batch * total + done, batches.len() * total);
            };
            let samples = self.sample(model, sampler, &request, &mut step)?;
            if is_stopped {
                return Err(EvalError::Interrupted);
            }
            for (context, sequence) in contexts.iter().zip(samples.sequences) {
                sequences.push(match self.eos_token {
                    Some(eos) => context.until_eos(&sequence, eos).to_vec(),
                    None => sequence,
                });
            }
            network_evaluations += samples.network_evaluations;
        }
        Ok(Generated {
            sequences,
            network_evaluations,
            sampler,
        })
    }

    fn sampler_for(&self, model: &LanguageModel) -> Result<SamplerKind, EvalError> {
        let fitting = SamplerKind::for_model(model);
        let sampler = self.settings.sampler.unwrap_or(fitting[0]);
        if !fitting.contains(&sampler) {
            let names: Vec<String> = fitting.iter().map(|s| format!("`{}`", s.name())).collect();
            return Err(EvalError::Sampler {
                sampler: sampler.name(),
                wanted: names.join(", "),
            });
        }
        let order = self.settings.order.unwrap_or_default();
        let is_ordered = order != RevealOrder::Random || self.settings.block_length.is_some();
        if is_ordered && !sampler.has_order() {
            tracing::warn!(
                sampler = sampler.name(),
                "order and blocks are ignored by this sampler"
            );
        }
        Ok(sampler)
    }

    fn sample(
        &self,
        model: &LanguageModel,
        sampler: SamplerKind,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Samples, SampleError> {
        let diffusion = self.settings.diffusion(sampler);
        match model {
            LanguageModel::Partition(denoiser) => match sampler {
                SamplerKind::Naive => {
                    diffusion.sample(&PartitionPredictor { denoiser }, request, progress)
                }
                _ => diffusion.sample(&KnownPredictor { denoiser }, request, progress),
            },
            LanguageModel::Masked(denoiser) => {
                let predictor = MaskedPredictor {
                    denoiser,
                    mask_token: self.mask_token,
                };
                let published = |prediction_use| MdlmPublished {
                    n_steps: self.settings.n_steps,
                    prediction_use,
                };
                match sampler {
                    SamplerKind::Published => {
                        published(PredictionUse::OneStep).sample(&predictor, request, progress)
                    }
                    SamplerKind::Cached => {
                        published(PredictionUse::UntilChanged).sample(&predictor, request, progress)
                    }
                    _ => diffusion.sample(&predictor, request, progress),
                }
            }
            LanguageModel::Causal(denoiser) => AutoregressiveSampler {
                eos_token: self.eos_token,
            }
            .sample(denoiser, request, progress),
        }
    }
}
