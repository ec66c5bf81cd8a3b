use std::ops::{ControlFlow, Range};
use std::time::Instant;

use burn::tensor::Device;
use pgm_data::Tokenizer;
use pgm_generation::{Context, Generator};
use pgm_model::LanguageModel;

use crate::EvalError;

/// A text to judge.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnSample {
    /// The text, tokens for beginning and end spelled out as those of the judge.
    pub text: String,
    /// The model's own tokens, where they are known.
    pub tokens: Option<Vec<u32>>,
    /// Network evaluations that the sample went through.
    pub network_evaluations: usize,
    /// Its share of the time of its batch.
    pub seconds: f64,
}

/// Where samples come from.
pub trait SampleSource {
    /// The samples of some numbers; a sample depends on its number alone. `judge` is the judge's tokenizer; `progress`
    /// hears of steps done and of all, and stops the work by breaking.
    ///
    /// # Errors
    /// When they cannot be drawn, or the work is stopped.
    fn draw(
        &mut self,
        numbers: Range<usize>,
        judge: &Tokenizer,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<DrawnSample>, EvalError>;

    /// The tokenizer of [`DrawnSample::tokens`], where it is known.
    fn tokenizer(&self) -> Option<&Tokenizer> {
        None
    }
}

/// Samples that a model draws, from nothing.
#[derive(Debug)]
pub struct ModelSamples<'a> {
    /// How they are drawn. To the end of the sequence as in the published figures, if it has no EOS.
    pub generator: &'a Generator,
    /// The model.
    pub model: &'a LanguageModel,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Tokens of a sample, BOS included.
    pub seq_len: usize,
    /// Where it computes.
    pub device: &'a Device,
}

impl SampleSource for ModelSamples<'_> {
    fn draw(
        &mut self,
        numbers: Range<usize>,
        judge: &Tokenizer,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<DrawnSample>, EvalError> {
        let contexts = vec![Context::new(self.seq_len, self.tokenizer.bos_id()); numbers.len()];
        let started = Instant::now();
        let generated = self.generator.generate_from(
            numbers.start,
            self.model,
            &contexts,
            self.device,
            &mut |heard| progress(heard.n_done(), heard.n_steps()),
        )?;
        let seconds = started.elapsed().as_secs_f64() / numbers.len() as f64;
        let n_batches = numbers.len().div_ceil(self.generator.batch_size);
        let samples = generated.sequences.into_iter().map(|tokens| {
            Ok(DrawnSample {
                text: in_words_of(judge, self.tokenizer, &tokens)?,
                tokens: Some(tokens),
                network_evaluations: generated.network_evaluations / n_batches,
                seconds,
            })
        });
        samples.collect()
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        Some(self.tokenizer)
    }
}

/// The text of a sequence, in which BOS in front and EOS anywhere are spelled as the judge's.
pub(super) fn in_words_of(
    judge: &Tokenizer,
    own: &Tokenizer,
    tokens: &[u32],
) -> Result<String, EvalError> {
    let spelled = |tokenizer: &Tokenizer, token| tokenizer.decode(&[token]);
    let (bos, rest) = match tokens.strip_prefix(&[own.bos_id()]) {
        Some(rest) => (spelled(judge, judge.bos_id())?, rest),
        None => (String::new(), tokens),
    };
    let own_eos = spelled(own, own.eos_id())?;
    let judge_eos = spelled(judge, judge.eos_id())?;
    Ok(bos + &own.decode(rest)?.replace(&own_eos, &judge_eos))
}

#[cfg(test)]
mod tests {
    use pgm_data::{BpeTables, WordSplit};
    use pgm_generation::SamplingSettings;
    use pgm_model::{LanguageModelConfig, PartitionTransformerConfig};

    use super::*;

    /// A network that predicts all tokens alike, and what draws from it.
    fn with_model(batch_size: usize, check: impl FnOnce(&mut ModelSamples, &Tokenizer)) {
        let device = Device::flex();
        let text = include_str!("samples.rs").to_owned();
        let tokenizer = Tokenizer::train_bpe([text].into_iter(), 300).unwrap();
        let model = LanguageModelConfig::Partition(PartitionTransformerConfig {
            vocab_size: 301,
            d_model: 8,
            n_heads: 2,
            n_encoder_blocks: 1,
            n_decoder_blocks: 1,
            ..Default::default()
        });
        let generator = Generator {
            settings: SamplingSettings {
                n_steps: 4,
                ..Default::default()
            },
            batch_size,
            seed: 3,
            mask_token: 300,
            eos_token: None,
        };
        let mut samples = ModelSamples {
            generator: &generator,
            model: &model.init(&device),
            tokenizer: &tokenizer,
            seq_len: 12,
            device: &device,
        };
        check(&mut samples, &tokenizer);
    }

    #[test]
    fn a_sample_depends_on_its_number_alone() {
        let draw = |batch_size, bounds: &[usize]| {
            let mut drawn = Vec::new();
            with_model(batch_size, |samples, tokenizer| {
                for part in bounds.windows(2) {
                    let numbers = part[0]..part[1];
                    let part =
                        samples.draw(numbers, tokenizer, &mut |_, _| ControlFlow::Continue(()));
                    drawn.extend(part.unwrap());
                }
            });
            assert!(drawn.iter().all(|sample| sample.network_evaluations == 4));
            drawn
                .into_iter()
                .map(|s| (s.text, s.tokens))
                .collect::<Vec<_>>()
        };
        let together = draw(5, &[0, 5]);
        assert_eq!(together, draw(2, &[0, 5]));
        assert_eq!(together, draw(3, &[0, 3, 4, 5]));
        assert_ne!(together[0], together[1]);
        assert_eq!(together[0].1.as_ref().map(Vec::len), Some(12));
    }

    #[test]
    fn beginnings_and_ends_are_spelled_as_the_judge_does() {
        with_model(1, |samples, own| {
            // A judge with other names for them.
            let tables = BpeTables {
                tokens: ["<s>", "</s>", "a"].map(str::to_owned).to_vec(),
                merges: Vec::new(),
                special: vec![0, 1],
                words: WordSplit::Gpt2,
            };
            let judge = Tokenizer::from_bpe_tables("judge", &tables).unwrap();
            let a = own.encode("a").unwrap();
            let tokens = [&[own.bos_id()][..], &a, &[own.eos_id()]].concat();
            // Beginning and end are one token here and two there.
            assert_eq!(in_words_of(&judge, own, &tokens).unwrap(), "<s>a</s>");
            assert_eq!(
                in_words_of(own, own, &tokens).unwrap(),
                "<|endoftext|>a<|endoftext|>"
            );
            assert_eq!(samples.tokenizer.bos_id(), own.bos_id());
        });
    }
}
