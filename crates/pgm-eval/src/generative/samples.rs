use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use discrete_diffusion::samplers::Context;
use pgm_data::Tokenizer;
use pgm_model::LanguageModel;
use sha2::{Digest, Sha256};

use super::results_file::hex;
use crate::{EvalError, Generator};

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
    /// The samples of some numbers; a sample depends on its number alone. `judge` is the judge's tokenizer.
    ///
    /// # Errors
    /// When they cannot be drawn.
    fn draw(
        &mut self,
        numbers: Range<usize>,
        judge: &Tokenizer,
    ) -> Result<Vec<DrawnSample>, EvalError>;
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
    ) -> Result<Vec<DrawnSample>, EvalError> {
        let contexts = vec![Context::new(self.seq_len, self.tokenizer.bos_id()); numbers.len()];
        let started = Instant::now();
        let generated = self.generator.generate_from(
            numbers.start,
            self.model,
            &contexts,
            self.device,
            &mut |_, _| true,
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
}

/// The text of tokens, in which the tokens for beginning and end are spelled as the judge's.
fn in_words_of(judge: &Tokenizer, own: &Tokenizer, tokens: &[u32]) -> Result<String, EvalError> {
    let mut text = own.decode(tokens)?;
    for (own_id, judge_id) in [
        (own.bos_id(), judge.bos_id()),
        (own.eos_id(), judge.eos_id()),
    ] {
        let (own_name, judge_name) = (own.decode(&[own_id])?, judge.decode(&[judge_id])?);
        if own_name != judge_name {
            text = text.replace(&own_name, &judge_name);
        }
    }
    Ok(text)
}

/// Samples from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSamples {
    samples: Vec<DrawnSample>,
    fingerprint: String,
}

impl TextSamples {
    /// Reads a `.jsonl` file, with an object with `text` and perhaps `tokens` in each line (as `pgm sample --json`
    /// writes), or another file with a text in each line. Lines without anything are left out.
    ///
    /// # Errors
    /// When the file cannot be read, a line is no such object, or there is no sample.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let failed = |reason: String| EvalError::File {
            path: path.to_path_buf(),
            reason,
        };
        let content = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let is_json = path.extension().is_some_and(|ending| ending == "jsonl");
        let lines = content.lines().enumerate();
        let samples = lines
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(number, line)| {
                let (text, tokens) = match is_json {
                    false => (line.to_owned(), None),
                    true => {
                        let line: SampleLine = serde_json::from_str(line).map_err(|error| {
                            failed(format!("line {} is no sample: {error}", number + 1))
                        })?;
                        (line.text, line.tokens)
                    }
                };
                Ok(DrawnSample {
                    text,
                    tokens,
                    network_evaluations: 0,
                    seconds: 0.0,
                })
            });
        let samples: Vec<DrawnSample> = samples.collect::<Result<_, EvalError>>()?;
        match samples.is_empty() {
            true => Err(failed("it holds no sample; write one a line".to_owned())),
            false => Ok(Self {
                samples,
                fingerprint: hex(&Sha256::digest(content)),
            }),
        }
    }

    /// Samples in the file.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// SHA-256 of the file in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl SampleSource for TextSamples {
    fn draw(
        &mut self,
        numbers: Range<usize>,
        _judge: &Tokenizer,
    ) -> Result<Vec<DrawnSample>, EvalError> {
        Ok(self.samples[numbers].to_vec())
    }
}

#[derive(serde::Deserialize)]
struct SampleLine {
    text: String,
    #[serde(default)]
    tokens: Option<Vec<u32>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str) -> Result<TextSamples, EvalError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        TextSamples::read(&path)
    }

    #[test]
    fn lines_are_samples() {
        let samples = read("a.txt", "one\n\n two \n").unwrap();
        let texts: Vec<&str> = samples.samples.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(texts, ["one", " two "]);
        let samples = read(
            "a.jsonl",
            "{\"text\": \"a\\nb\", \"tokens\": [1]}\n{\"text\": \"\"}",
        )
        .unwrap();
        assert_eq!(samples.samples[0].text, "a\nb");
        assert_eq!(samples.samples[0].tokens, Some(vec![1]));
        assert_eq!(samples.len(), 2);
    }

    #[test]
    fn files_without_samples_are_named() {
        let error = read("a.txt", "\n").unwrap_err().to_string();
        assert!(
            error.ends_with("a.txt`: it holds no sample; write one a line"),
            "{error}"
        );
        let error = read("a.jsonl", "{}").unwrap_err().to_string();
        assert!(
            error.contains("line 1 is no sample: missing field `text`"),
            "{error}"
        );
        let error = TextSamples::read(Path::new("absent.txt")).unwrap_err();
        assert!(error.to_string().starts_with("`absent.txt`: "), "{error}");
    }
}
