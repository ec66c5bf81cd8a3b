use std::ops::ControlFlow;

use burn::tensor::Device;
use discrete_diffusion::samplers::{
    AutoregressiveSampler, Context, KnownPredictor, MaskedPredictor, MdlmPublished,
    PartitionPredictor, PredictionUse, RevealOrder, SampleError, SampleRequest, Samples,
    SamplingProgress,
};
use pgm_model::LanguageModel;

use crate::{GenerationError, GenerationProgress, SamplerKind, SamplingSettings};

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
    /// Draws a sequence for each context; `progress` hears of the start of each batch and of every step, and stops
    /// the work by breaking.
    ///
    /// # Errors
    /// When there is no context, a setting cannot be used, the sampler does not fit the model or the
    /// contexts, the network's output cannot be used, or the work is stopped.
    pub fn generate(
        &self,
        model: &LanguageModel,
        contexts: &[Context],
        device: &Device,
        progress: &mut dyn FnMut(GenerationProgress) -> ControlFlow<()>,
    ) -> Result<Generated, GenerationError> {
        self.generate_from(0, model, contexts, device, progress)
    }

    /// The same for contexts that stand behind `first_sequence` others: a sequence depends on its number, not
    /// on whether those before it are drawn.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_from(
        &self,
        first_sequence: usize,
        model: &LanguageModel,
        contexts: &[Context],
        device: &Device,
        progress: &mut dyn FnMut(GenerationProgress) -> ControlFlow<()>,
    ) -> Result<Generated, GenerationError> {
        let sampler = self.sampler_for(model)?;
        self.warn_of_more_blocks_than_steps(sampler, contexts);
        for (name, value) in [
            ("batch_size", self.batch_size),
            ("n_sequences", contexts.len()),
        ] {
            if value == 0 {
                return Err(GenerationError::Zero { name });
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
                first_sequence: (first_sequence + sequences.len()) as u64,
                device,
            };
            let mut step = |steps: SamplingProgress| {
                progress(GenerationProgress {
                    batch,
                    n_batches: batches.len(),
                    first_context: sequences.len(),
                    steps,
                })
            };
            let samples = match self.sample(model, sampler, &request, &mut step) {
                Err(SampleError::Stopped) => return Err(GenerationError::Interrupted),
                samples => samples?,
            };
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

    fn sampler_for(&self, model: &LanguageModel) -> Result<SamplerKind, GenerationError> {
        let fitting = SamplerKind::for_model(model);
        let sampler = self.settings.sampler.unwrap_or(fitting[0]);
        if !fitting.contains(&sampler) {
            let names: Vec<String> = fitting.iter().map(|s| format!("`{}`", s.name())).collect();
            return Err(GenerationError::Sampler {
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

    /// A block takes one step at least, so that there may be more steps than asked for.
    fn warn_of_more_blocks_than_steps(&self, sampler: SamplerKind, contexts: &[Context]) {
        let has_steps = sampler.has_order() && sampler != SamplerKind::EntropyBound;
        if self.settings.block_length.is_none() || !has_steps {
            return;
        }
        let diffusion = self.settings.diffusion(sampler);
        let blocks = contexts.iter().map(|context| diffusion.n_blocks(context));
        let n_blocks = blocks.max().unwrap_or(0);
        if n_blocks > diffusion.n_steps {
            tracing::warn!(
                n_blocks,
                n_steps = diffusion.n_steps,
                "more blocks than steps: each block takes a step; longer blocks take fewer"
            );
        }
    }

    fn sample(
        &self,
        model: &LanguageModel,
        sampler: SamplerKind,
        request: &SampleRequest,
        progress: &mut dyn FnMut(SamplingProgress) -> ControlFlow<()>,
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

#[cfg(test)]
mod tests {
    use pgm_model::{CausalDitConfig, DitConfig, LanguageModelConfig, PartitionTransformerConfig};

    use super::*;

    const MASK: u32 = 6;
    const EOS: u32 = 5;

    /// Small networks that predict all tokens alike.
    fn models(device: &Device) -> [LanguageModel; 3] {
        let (vocab_size, d_model, n_heads) = (7, 8, 2);
        let partition = PartitionTransformerConfig {
            vocab_size,
            d_model,
            n_heads,
            n_encoder_blocks: 1,
            n_decoder_blocks: 1,
            ..Default::default()
        };
        let masked = DitConfig {
            vocab_size,
            d_model,
            n_heads,
            n_blocks: 1,
            ..Default::default()
        };
        let causal = CausalDitConfig {
            vocab_size,
            d_model,
            n_heads,
            n_blocks: 1,
            ..Default::default()
        };
        [
            LanguageModelConfig::Partition(partition),
            LanguageModelConfig::Masked(masked),
            LanguageModelConfig::Causal(causal),
        ]
        .map(|config| config.init(device))
    }

    /// Who does not listen.
    fn unheard(_: GenerationProgress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn generator(sampler: Option<SamplerKind>, batch_size: usize) -> Generator {
        Generator {
            settings: SamplingSettings {
                sampler,
                n_steps: 4,
                ..Default::default()
            },
            batch_size,
            seed: 3,
            mask_token: MASK,
            eos_token: Some(EOS),
        }
    }

    /// Prompts of different lengths, in sequences of different lengths.
    fn contexts() -> Vec<Context> {
        [(6, 1), (6, 3), (6, 2), (9, 1), (9, 8)]
            .map(|(seq_len, n_known)| {
                let prompt = vec![1; n_known - 1];
                let context = Context::new(seq_len, 0).with_prompt(&prompt);
                context.expect("the prompt is shorter")
            })
            .to_vec()
    }

    #[test]
    fn every_sampler_keeps_what_is_known_whatever_the_batch_size() {
        let device = Device::flex();
        for model in models(&device) {
            for &kind in SamplerKind::for_model(&model) {
                let drawn = |batch_size| {
                    generator(Some(kind), batch_size)
                        .generate(&model, &contexts(), &device, &mut unheard)
                        .expect("sequences")
                };
                let together = drawn(4);
                assert_eq!(together.sequences, drawn(1).sequences, "{kind:?}");
                let behind = generator(Some(kind), 4)
                    .generate_from(2, &model, &contexts()[2..], &device, &mut unheard)
                    .expect("sequences");
                assert_eq!(together.sequences[2..], behind.sequences, "{kind:?}");
                assert_eq!(together.sampler, kind);
                for (sequence, context) in together.sequences.iter().zip(contexts()) {
                    let n_known = context.prefix_len();
                    assert!(sequence.len() > n_known && sequence.len() <= context.seq_len());
                    let known: Vec<u32> = context.tokens().iter().flatten().copied().collect();
                    assert_eq!(sequence[..n_known], known, "{kind:?}");
                    // It ends with the first EOS.
                    let eos = sequence.iter().position(|&token| token == EOS);
                    assert!(eos.is_none_or(|at| at + 1 == sequence.len()), "{kind:?}");
                    assert!(!sequence.contains(&MASK), "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn blocks_take_the_steps_that_were_asked_for() {
        let device = Device::flex();
        // Behind a prompt of 3 tokens, blocks of 4 and 2.
        let context = Context::new(9, 0).with_prompt(&[1, 1]).expect("it fits");
        for model in &models(&device)[..2] {
            for order in [RevealOrder::Random, RevealOrder::Confidence] {
                // A step for each block at least, one for each token at most.
                for (n_steps, expected) in [(1, 2), (2, 2), (3, 3), (5, 5), (6, 6), (50, 6)] {
                    let mut generator = generator(Some(SamplerKind::Uniform), 1);
                    generator.settings.n_steps = n_steps;
                    generator.settings.block_length = Some(4);
                    generator.settings.order = Some(order);
                    let generated = generator
                        .generate(model, std::slice::from_ref(&context), &device, &mut unheard)
                        .expect("a sequence");
                    assert_eq!(
                        generated.network_evaluations, expected,
                        "{order:?} {n_steps}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_sampler_of_another_model_is_refused_with_those_that_fit() {
        let device = Device::flex();
        let [partition, _, causal] = models(&device);
        let refusal = |model: &LanguageModel, kind| {
            generator(Some(kind), 1)
                .generate(model, &contexts(), &device, &mut unheard)
                .expect_err("a refusal")
                .to_string()
        };
        assert_eq!(
            refusal(&causal, SamplerKind::Uniform),
            "sampler `uniform` does not fit this model; wanted one of `autoregressive`"
        );
        let text = refusal(&partition, SamplerKind::Ancestral);
        assert!(text.contains("`uniform`, `non-uniform`"), "{text}");
    }
    #[test]
    fn batches_are_heard_of_from_their_start_and_can_be_stopped() {
        let device = Device::flex();
        for model in models(&device) {
            let mut last = Vec::new();
            let mut starts = Vec::new();
            let mut generator = generator(None, 2);
            generator.eos_token = None;
            let generated = generator.generate(&model, &contexts(), &device, &mut |heard| {
                if heard.steps.n_done == 0 {
                    starts.push((heard.batch, heard.first_context));
                    let first = contexts().swap_remove(heard.first_context);
                    assert_eq!(heard.steps.sequence(0), first.tokens());
                }
                if heard.steps.n_done == heard.steps.n_steps {
                    assert_eq!(heard.n_done(), (heard.batch + 1) * heard.steps.n_steps);
                    let n = heard.steps.n_sequences();
                    last.extend((0..n).map(|i| heard.steps.sequence(i).to_vec()));
                }
                assert_eq!(heard.n_steps(), 3 * heard.steps.n_steps);
                ControlFlow::Continue(())
            });
            // 5 contexts, 3 of one length and 2 of another.
            assert_eq!(starts, [(0, 0), (1, 2), (2, 3)]);
            let known = |sequence: Vec<Option<u32>>| sequence.into_iter().flatten().collect();
            let last: Vec<Vec<u32>> = last.into_iter().map(known).collect();
            assert_eq!(last, generated.expect("sequences").sequences);

            let mut n_heard = 0;
            let stopped = generator.generate(&model, &contexts(), &device, &mut |_| {
                n_heard += 1;
                ControlFlow::Break(())
            });
            assert!(matches!(stopped, Err(GenerationError::Interrupted)));
            assert_eq!(n_heard, 1);
        }
    }
}
