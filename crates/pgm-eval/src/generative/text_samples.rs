use std::ops::Range;
use std::path::Path;

use pgm_data::Tokenizer;
use sha2::{Digest, Sha256};

use super::results_file::hex;
use super::samples::{DrawnSample, SampleSource};
use crate::EvalError;

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
        _progress: &mut dyn FnMut(usize, usize) -> bool,
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
