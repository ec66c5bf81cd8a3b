use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::judging::JudgedSample;
use crate::EvalError;

/// Results in a file, to which each batch is appended, so that an interrupted evaluation goes on.
///
/// The first line is a JSON object with the settings, each other line a result.
#[derive(Debug)]
pub struct ResultsFile<R = JudgedSample> {
    path: PathBuf,
    file: File,
    samples: Vec<R>,
}

/// What a line of a [`ResultsFile`] holds.
pub trait NumberedResult: Serialize + DeserializeOwned {
    /// Its number, from 0; it stands in the line.
    fn number(&self) -> usize;
}

impl ResultsFile {
    /// A name that settings have to themselves.
    pub fn name_for(settings: &Value) -> String {
        let digest = Sha256::digest(settings.to_string());
        format!("{}.jsonl", hex(&digest[..6]))
    }
}

impl<R: NumberedResult> ResultsFile<R> {
    /// Opens a file for the results of some settings, or begins one. A line that was not written to its end is cut
    /// off.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds results of other settings.
    pub fn open(path: &Path, settings: &Value) -> Result<Self, EvalError> {
        let failed = |reason: String| EvalError::File {
            path: path.to_path_buf(),
            reason,
        };
        let io = |error: std::io::Error| failed(error.to_string());
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io(error)),
        };
        let end = content.iter().rposition(|&byte| byte == b'\n');
        let end = end.map_or(0, |newline| newline + 1);
        let mut samples = Vec::new();
        let mut lines = content[..end].split_inclusive(|&byte| byte == b'\n');
        let header = json!({ "settings": settings }).to_string();
        if let Some(first) = lines.next() {
            let found: Value = serde_json::from_slice(first).map_err(|error| {
                failed(format!("it holds no results: {error}; name another file"))
            })?;
            // Numbers lose their last digit in reading, so that both sides are read.
            let wanted: Value = serde_json::from_str(&header).expect("it was just written");
            if found != wanted {
                return Err(failed(format!(
                    "it holds results of other settings ({}); name another file, or remove it",
                    difference(&found["settings"], &wanted["settings"])
                )));
            }
        } else if !content.is_empty() {
            return Err(failed("it holds no results; name another file".to_owned()));
        }
        for (number, line) in lines.enumerate() {
            let sample: Option<R> = serde_json::from_slice(line).ok();
            match sample.filter(|sample| sample.number() == number) {
                Some(sample) => samples.push(sample),
                None => {
                    return Err(failed(format!(
                        "line {} is not result {number}; the file is damaged, remove it",
                        number + 2
                    )));
                }
            }
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(io)?;
        file.set_len(end as u64).map_err(io)?;
        if end == 0 {
            writeln!(file, "{header}").map_err(io)?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            samples,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The results so far, in the order of their numbers.
    pub fn samples(&self) -> &[R] {
        &self.samples
    }

    /// Writes the next results.
    pub(crate) fn append(&mut self, samples: Vec<R>) -> Result<(), EvalError> {
        let (mut lines, mut kept) = (String::new(), Vec::new());
        for sample in samples {
            let line = serde_json::to_string(&sample).expect("a result has a JSON form");
            // What is kept is what will be read, to the last digit, so that going on changes no number.
            let read = serde_json::from_str(&line).expect("it was just written");
            kept.push(read);
            lines += &line;
            lines.push('\n');
        }
        self.file
            .write_all(lines.as_bytes())
            .map_err(|error| EvalError::File {
                path: self.path.clone(),
                reason: error.to_string(),
            })?;
        self.samples.append(&mut kept);
        Ok(())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The settings that differ, with the value found and the value wanted.
fn difference(found: &Value, wanted: &Value) -> String {
    let (Value::Object(found), Value::Object(wanted)) = (found, wanted) else {
        return format!("{found}, wanted {wanted}");
    };
    let keys = wanted
        .keys()
        .chain(found.keys().filter(|key| !wanted.contains_key(*key)));
    let of = |value: Option<&Value>| value.unwrap_or(&Value::Null).to_string();
    let differing = keys
        .filter(|key| found.get(*key) != wanted.get(*key))
        .map(|key| {
            format!(
                "`{key}` is {}, wanted {}",
                of(found.get(key)),
                of(wanted.get(key))
            )
        });
    differing.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: usize) -> JudgedSample {
        JudgedSample {
            number,
            nll: 0.1 + number as f64,
            n_scored: 3,
            own_tokens: None,
            n_judge_tokens: 4,
            network_evaluations: 2,
            sampling_seconds: 0.5,
            judging_seconds: 0.25,
            text: "a\nb".into(),
            tokens: vec![1, 2],
            feature: None,
        }
    }

    #[test]
    fn results_that_were_interrupted_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let settings = json!({"seed": 1});
        let mut results = ResultsFile::open(&path, &settings).unwrap();
        results.append(vec![sample(0), sample(1)]).unwrap();
        results.append(vec![sample(2)]).unwrap();
        drop(results);
        let whole = std::fs::read(&path).unwrap();
        // Wherever it was cut, whole samples are kept and the rest is written again.
        let first_line = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for end in first_line..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let mut results = ResultsFile::open(&path, &settings).unwrap();
            let n_kept = results.samples().len();
            assert_eq!(
                results.samples(),
                (0..n_kept).map(sample).collect::<Vec<_>>()
            );
            results.append((n_kept..3).map(sample).collect()).unwrap();
            drop(results);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn numbers_are_the_same_before_and_after_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        // Two numbers that come back with another last digit.
        let settings = json!({"beta": 0.999_000_012_874_603_3, "x": 0.178_554_982_797_685_95});
        let mut results = ResultsFile::open(&path, &settings).unwrap();
        let samples = (0..50).map(|number| JudgedSample {
            nll: (number as f64 + 0.1).sqrt().ln(),
            ..sample(number)
        });
        results.append(samples.collect()).unwrap();
        let read: ResultsFile = ResultsFile::open(&path, &settings).unwrap();
        assert_eq!(read.samples(), results.samples());
    }

    #[test]
    fn results_of_other_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let (first, second) = (json!({"seed": 1, "n": 2}), json!({"seed": 3, "n": 2}));
        drop(ResultsFile::<JudgedSample>::open(&path, &first).unwrap());
        let refused = |settings| ResultsFile::<JudgedSample>::open(&path, settings).unwrap_err();
        let error = refused(&second).to_string();
        assert!(
            error.contains("other settings (`seed` is 1, wanted 3)"),
            "{error}"
        );
        assert_ne!(
            ResultsFile::name_for(&first),
            ResultsFile::name_for(&second)
        );
        std::fs::write(&path, "my notes").unwrap();
        let error = refused(&first).to_string();
        assert!(error.contains("holds no results"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"my notes");
    }
}
