use std::ops::{ControlFlow, Range};
use std::path::Path;

use pgm_data::{Tokenizer, read_json_text, read_text, sha256_hex};

use super::sample_file::{FileSample, samples_in};
use super::samples::{DrawnSample, SampleSource};
use crate::EvalError;

/// Samples from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSamples {
    samples: Vec<DrawnSample>,
    fingerprint: String,
}

impl TextSamples {
    /// Reads the texts of a file: JSON lines or a list, of texts or of objects with `text` and perhaps `tokens` (as
    /// `pgm sample --json` writes); an object with a list of texts as PGM's own code, Duo, MDLM and ReMDM write it; a text
    /// in each line; or what a run or `pgm sample` writes for people to read.
    ///
    /// JSON is known by the ending of the name or by itself. Empty lines are left out.
    ///
    /// # Errors
    /// When the file cannot be read, is JSON of another form or a table, or there is no sample.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let failed = |reason: String| EvalError::File {
            path: path.to_path_buf(),
            reason,
        };
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        let content = match ending.to_str() {
            Some("json" | "jsonl" | "ndjson") => read_json_text(path)?,
            Some("csv" | "tsv") => {
                let reason =
                    "a table is not read; write its texts as JSON lines, with `text` in each";
                return Err(failed(reason.to_owned()));
            }
            _ => read_text(path)?,
        };
        let is_json = matches!(ending.to_str(), Some("json" | "jsonl" | "ndjson"));
        let samples: Vec<DrawnSample> = samples_in(&content, is_json)
            .map_err(failed)?
            .into_iter()
            .map(|FileSample { text, tokens }| DrawnSample {
                text,
                tokens,
                network_evaluations: 0,
                seconds: 0.0,
            })
            .collect();
        if samples.is_empty() {
            Err(failed("it holds no sample; write one a line".to_owned()))
        } else {
            Ok(Self {
                fingerprint: fingerprint(&samples),
                samples,
            })
        }
    }

    /// Samples in the file.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// SHA-256 of the texts and tokens in hexadecimal digits: the same in whatever form they lie.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl SampleSource for TextSamples {
    fn draw(
        &mut self,
        numbers: Range<usize>,
        _judge: &Tokenizer,
        _progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<DrawnSample>, EvalError> {
        Ok(self.samples[numbers].to_vec())
    }
}

fn fingerprint(samples: &[DrawnSample]) -> String {
    let mut parts = Vec::new();
    for sample in samples {
        serde_json::to_writer(&mut parts, &(&sample.text, &sample.tokens))
            .expect("texts and numbers have a JSON form");
    }
    sha256_hex(parts)
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
    fn endings_in_capitals_and_byte_order_marks_change_nothing() {
        let json = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
        let wanted = read("a.jsonl", json).unwrap();
        for name in ["a.JSONL", "a.json", "a.Json", "a.txt", "a"] {
            assert_eq!(read(name, json).unwrap(), wanted, "{name}");
            let marked = format!("\u{feff}{json}");
            assert_eq!(read(name, &marked).unwrap(), wanted, "{name}");
        }
        let lines = read("a.TXT", "\u{feff}a\nb\n").unwrap();
        assert_eq!(lines, wanted);
        assert_ne!(lines, read("a.txt", "ab\n").unwrap());
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
            error.contains("`: it has no fields; wanted a list of texts"),
            "{error}"
        );
        let error = TextSamples::read(Path::new("absent.txt")).unwrap_err();
        assert!(
            error.to_string().starts_with("`absent.txt` does not exist"),
            "{error}"
        );
        let error = read("a.CSV", "text\na\n").unwrap_err().to_string();
        assert!(error.contains("a.CSV`: a table is not read"), "{error}");
        let error = read("a.json", "<html>404</html>").unwrap_err();
        assert!(error.to_string().contains("is a web page"), "{error}");
    }
}
