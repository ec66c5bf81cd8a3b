use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use pgm_data::{FileLock, LockAttempt, n_bytes_of_whole_lines, sha256_hex};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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
    _lock: FileLock,
}

/// What a line of a [`ResultsFile`] holds.
pub trait NumberedResult: Serialize + DeserializeOwned {
    /// Its number, from 0; it stands in the line.
    fn number(&self) -> usize;
}

impl ResultsFile {
    /// A name that settings have to themselves.
    pub fn name_for(settings: &Value) -> String {
        let digest = sha256_hex(settings.to_string());
        format!("{}.jsonl", &digest[..12])
    }
}

impl<R: NumberedResult> ResultsFile<R> {
    /// Opens a file for the results of some settings, or begins one. It belongs to this process then: another one that
    /// opens it waits. Lines at the end that are no results are cut off, and the log says so.
    ///
    /// # Errors
    /// When the file cannot be read or written, holds results of other settings, is damaged with results behind the
    /// damage, or is open in this process already.
    pub fn open(path: &Path, settings: &Value) -> Result<Self, EvalError> {
        let lock = lock(path)?;
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(path, error.to_string())),
        };
        let header = format!("{}\n", json!({ "settings": settings }));
        let first_line = check_header(&content, &header).map_err(|reason| failed(path, reason))?;
        let lines = &content[first_line..];
        let (samples, n_bytes) = read_results(lines).map_err(|reason| failed(path, reason))?;
        let end = first_line + n_bytes;
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| failed(path, error.to_string()))?;
        if end < content.len() {
            tracing::warn!(path = %path.display(), n_results = samples.len(), n_bytes = content.len() - end, "the end of the file is damaged and cut off; the results before it stay");
        }
        file.set_len(end as u64)
            .and_then(|()| match first_line {
                0 => file.write_all(header.as_bytes()),
                _ => Ok(()),
            })
            .map_err(|error| failed(path, error.to_string()))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            samples,
            _lock: lock,
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
            .map_err(|error| failed(&self.path, error.to_string()))?;
        self.samples.append(&mut kept);
        Ok(())
    }
}

fn failed(path: &Path, reason: String) -> EvalError {
    EvalError::File {
        path: path.to_path_buf(),
        reason,
    }
}

/// Waits for another process that has the file.
fn lock(path: &Path) -> Result<FileLock, EvalError> {
    let name = FileLock::path_for(path);
    match FileLock::try_take(&name)? {
        LockAttempt::Taken(lock) => return Ok(lock),
        // Waiting for oneself would never end.
        LockAttempt::HeldBy(holder) if holder.is_this_process() => {
            return Err(failed(
                path,
                "it is open in this process already".to_owned(),
            ));
        }
        LockAttempt::HeldBy(_) => {}
    }
    Ok(FileLock::wait(&name, |holder| {
        tracing::warn!(path = %path.display(), %holder, "waiting for another process that writes these results; name another folder to compute them at the same time");
    })?)
}

/// Bytes of the first line, if it is the right one; 0 if the file is empty or was left in the middle of that line.
fn check_header(content: &[u8], header: &str) -> Result<usize, String> {
    let end = content.iter().position(|&byte| byte == b'\n');
    let Some(end) = end else {
        let is_begun = header.as_bytes().starts_with(content);
        if is_begun || content.iter().all(|&byte| byte == 0) {
            return Ok(0);
        }
        return Err("it holds no results; name another file".to_owned());
    };
    let found: Value = serde_json::from_slice(&content[..end])
        .map_err(|error| format!("it holds no results: {error}; name another file"))?;
    // Numbers lose their last digit in reading, so that both sides are read.
    let wanted: Value = serde_json::from_str(header).expect("it was just written");
    if found != wanted {
        return Err(format!(
            "it holds results of other settings ({}); name another file, or remove it",
            difference(&found["settings"], &wanted["settings"])
        ));
    }
    Ok(end + 1)
}

/// The results in the lines behind the first one, and their bytes; what is behind them is no result.
fn read_results<R: NumberedResult>(lines: &[u8]) -> Result<(Vec<R>, usize), String> {
    let mut samples: Vec<R> = Vec::new();
    let mut n_bytes = 0;
    let whole = &lines[..n_bytes_of_whole_lines(lines)];
    for line in whole.split_inclusive(|&byte| byte == b'\n') {
        let sample: Option<R> = serde_json::from_slice(line).ok();
        match sample.filter(|sample| sample.number() == samples.len()) {
            Some(sample) => samples.push(sample),
            None => break,
        }
        n_bytes += line.len();
    }
    let is_result = |line: &[u8]| serde_json::from_slice::<R>(line).is_ok();
    let bad = &whole[n_bytes..];
    if bad.split_inclusive(|&byte| byte == b'\n').any(is_result) {
        let number = samples.len();
        return Err(format!(
            "line {} is not result {number}, and there are results behind it; remove that line and all behind it to keep the {number} results before it (`head -n {}` gives them), or name another folder",
            number + 2,
            number + 1
        ));
    }
    Ok((samples, n_bytes))
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
        for end in 0..whole.len() {
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

    /// A file with three results, the line of each, and that of the settings first.
    fn lines(path: &Path, settings: &Value) -> Vec<Vec<u8>> {
        let mut results = ResultsFile::open(path, settings).unwrap();
        results.append((0..3).map(sample).collect()).unwrap();
        let content = std::fs::read(path).unwrap();
        let lines = content.split_inclusive(|&byte| byte == b'\n');
        lines.map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_damaged_end_costs_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let settings = json!({"seed": 1});
        let lines = lines(&path, &settings);
        let whole = lines.concat();
        let kept = lines[..3].concat();
        // The last line with bytes that are no text, zeros of a disk that lost power, garbage of two lines.
        let mut flipped = lines[3].clone();
        flipped[4] = 0xff;
        for end in [
            flipped,
            vec![0; 4096],
            [&[0; 100], &b"\n"[..]].concat(),
            b"{\"number\": 2\n}\n".to_vec(),
        ] {
            std::fs::write(&path, [&kept[..], &end].concat()).unwrap();
            let mut results = ResultsFile::open(&path, &settings).unwrap();
            assert_eq!(results.samples(), [sample(0), sample(1)]);
            assert_eq!(std::fs::read(&path).unwrap(), kept);
            results.append(vec![sample(2)]).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn damage_with_results_behind_it_is_named_and_nothing_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let settings = json!({"seed": 1});
        let mut lines = lines(&path, &settings);
        lines[2] = b"{\n".to_vec();
        let twice = [&lines[..2], &lines[1..2]].concat();
        for (lines, line) in [
            (lines, "line 3 is not result 1"),
            (twice, "line 3 is not result 1"),
        ] {
            std::fs::write(&path, lines.concat()).unwrap();
            let opened: Result<ResultsFile, _> = ResultsFile::open(&path, &settings);
            let error = opened.unwrap_err().to_string();
            assert!(
                error.contains(line) && error.contains("head -n 2"),
                "{error}"
            );
            assert_eq!(std::fs::read(&path).unwrap(), lines.concat());
        }
    }

    #[test]
    fn results_are_open_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let settings = json!({"seed": 1});
        let results: ResultsFile = ResultsFile::open(&path, &settings).unwrap();
        let again: Result<ResultsFile, _> = ResultsFile::open(&path, &settings);
        let error = again.unwrap_err().to_string();
        assert!(error.contains("open in this process already"), "{error}");
        drop(results);
        drop::<ResultsFile>(ResultsFile::open(&path, &settings).unwrap());
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
        let kept = results.samples().to_vec();
        drop(results);
        let read: ResultsFile = ResultsFile::open(&path, &settings).unwrap();
        assert_eq!(read.samples(), kept);
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
