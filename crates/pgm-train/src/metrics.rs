use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use pgm_perplexity::PerplexityReport;
use serde::{Deserialize, Serialize};

use crate::{MethodRecord, TrainError};

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricRecord {
    /// Training.
    Train {
        /// Optimizer steps done.
        step: usize,
        /// Nats of a token since the last line, a mean with the weights of training: the unit of validations, unless
        /// the method has another ([`TrainingMethod::loss_unit`](crate::TrainingMethod::loss_unit)).
        loss: f64,
        /// Mean weight of a token; `loss` times this is what was minimised. Earlier versions had `loss` so, and no weight.
        #[serde(default)]
        mean_weight: Option<f64>,
        /// Learning rate of the last update.
        learning_rate: f64,
        /// Norm of the last gradient, before clipping.
        grad_norm: f64,
        /// Trained tokens per second since the start or resumption.
        tokens_per_second: f64,
        /// Seconds since the start or resumption.
        seconds: f64,
    },
    /// Validation with averaged weights.
    Validation {
        /// Optimizer steps done.
        step: usize,
        /// Nats per token.
        nll: f64,
        /// Standard error of `nll`; none for a single sequence.
        nll_standard_error: Option<f64>,
        /// `exp(nll)`.
        perplexity: f64,
        /// Sequences used.
        n_sequences: usize,
    },
    /// What the [`TrainingMethod`](crate::TrainingMethod) says besides.
    #[serde(skip)]
    Method(MethodRecord),
}

impl MetricRecord {
    /// A validation after `step` optimizer steps.
    pub fn validation(step: usize, report: &PerplexityReport) -> Self {
        Self::Validation {
            step,
            nll: report.nll,
            nll_standard_error: Some(report.nll_standard_error).filter(|error| error.is_finite()),
            perplexity: report.perplexity,
            n_sequences: report.n_sequences,
        }
    }

    /// Optimizer steps done.
    pub fn step(&self) -> usize {
        match self {
            Self::Train { step, .. } | Self::Validation { step, .. } => *step,
            Self::Method(record) => record.step,
        }
    }
}

/// The metrics of a run, one JSON object a line, written as they come.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the log for going on after `step`: lines of later steps, left by a run that was
    /// killed after its last checkpoint, are dropped, and so is a validation of this step unless it
    /// came to its end (`is_validated`). Lines that are damaged are named in the log and dropped, too.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, step: usize, is_validated: bool) -> Result<Self, TrainError> {
        if path.exists() {
            let content = std::fs::read(path).map_err(TrainError::file("read", path))?;
            let Parsed { records, damaged } = Parsed::from_bytes(&content);
            if !damaged.is_empty() {
                tracing::warn!(path = %path.display(), lines = ?damaged, "lines are damaged and left out; all others stay");
            }
            let kept: Vec<String> = records
                .iter()
                .filter(|record| {
                    let is_validation = matches!(record, MetricRecord::Validation { .. });
                    record.step() < step
                        || record.step() == step && (is_validated || !is_validation)
                })
                .map(to_line)
                .collect();
            pgm_data::write_file(path, kept.concat().as_bytes())?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(TrainError::file("open", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Brings losses of earlier versions into the unit of the others; they were multiplied by `weight`.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn convert_earlier(path: &Path, weight: f64) -> Result<(), TrainError> {
        if !path.exists() {
            return Ok(());
        }
        let mut records = Self::read(path)?;
        let mut is_converted = false;
        for record in &mut records {
            if let MetricRecord::Train {
                loss,
                mean_weight: mean_weight @ None,
                ..
            } = record
            {
                *loss /= weight;
                *mean_weight = Some(weight);
                is_converted = true;
            }
        }
        if is_converted {
            let lines: Vec<String> = records.iter().map(to_line).collect();
            pgm_data::write_file(path, lines.concat().as_bytes())?;
        }
        Ok(())
    }

    /// Appends a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push(&mut self, record: &MetricRecord) -> Result<(), TrainError> {
        self.file
            .write_all(to_line(record).as_bytes())
            .map_err(TrainError::file("write", &self.path))
    }

    /// The lines so far, see [`Self::read`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn records(&self) -> Result<Vec<MetricRecord>, TrainError> {
        Self::read(&self.path)
    }

    /// All lines but damaged ones, as a killed run leaves one half-written at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> Result<Vec<MetricRecord>, TrainError> {
        let content = std::fs::read(path).map_err(TrainError::file("read", path))?;
        Ok(Parsed::from_bytes(&content).records)
    }
}

/// The content of a file.
struct Parsed {
    records: Vec<MetricRecord>,
    /// Numbers of the lines, from 1, that are no records.
    damaged: Vec<usize>,
}

impl Parsed {
    fn from_bytes(content: &[u8]) -> Self {
        let mut parsed = Self {
            records: Vec::new(),
            damaged: Vec::new(),
        };
        for (i, line) in content.split_inclusive(|&byte| byte == b'\n').enumerate() {
            match parse_line(line) {
                Some(record) => parsed.records.push(record),
                None => parsed.damaged.push(i + 1),
            }
        }
        parsed
    }
}

fn parse_line(line: &[u8]) -> Option<MetricRecord> {
    match serde_json::from_slice(line) {
        Ok(record) => Some(record),
        Err(_) => MethodRecord::parse(line).map(MetricRecord::Method),
    }
}

fn to_line(record: &MetricRecord) -> String {
    let mut line = match record {
        MetricRecord::Method(record) => record.json().to_owned(),
        record => serde_json::to_string(record).expect("a metric has a JSON form"),
    };
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_earlier_versions_get_the_unit_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        MetricsLog::convert_earlier(&path, 0.5).unwrap();
        let line = |step: usize, rest: &str| {
            format!(
                "{{\"kind\":\"train\",\"step\":{step},\"loss\":2.5,\"learning_rate\":0.1,\"grad_norm\":1.0,\
                 \"tokens_per_second\":9.0,\"seconds\":1.0{rest}}}\n"
            )
        };
        let text = line(1, "") + &line(2, ",\"mean_weight\":0.4");
        std::fs::write(&path, text).unwrap();
        let found = || -> Vec<[f64; 2]> {
            let records = MetricsLog::read(&path).unwrap().into_iter();
            let pair = |record| match record {
                MetricRecord::Train {
                    loss, mean_weight, ..
                } => [loss, mean_weight.unwrap_or(f64::NAN)],
                _ => panic!("another record"),
            };
            records.map(pair).collect()
        };
        for _ in 0..2 {
            MetricsLog::convert_earlier(&path, 0.5).unwrap();
            assert_eq!(found(), [[5.0, 0.5], [2.5, 0.4]]);
        }
    }

    #[test]
    fn lines_after_the_resumed_step_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let record = |step| MetricRecord::Validation {
            step,
            nll: 1.0,
            nll_standard_error: Some(0.1),
            perplexity: 2.7,
            n_sequences: 5,
        };
        let mut log = MetricsLog::open(&path, 0, false).unwrap();
        for step in [10, 20, 30] {
            log.push(&record(step)).unwrap();
        }
        log.file.write_all(b"{\"kind\":\"tra").unwrap();
        let mut log = MetricsLog::open(&path, 20, true).unwrap();
        log.push(&record(25)).unwrap();
        let steps: Vec<usize> = MetricsLog::read(&path)
            .unwrap()
            .iter()
            .map(MetricRecord::step)
            .collect();
        assert_eq!(steps, [10, 20, 25]);
        MetricsLog::open(&path, 20, false).unwrap();
        assert_eq!(MetricsLog::read(&path).unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_line_costs_that_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let records: Vec<MetricRecord> = (1..=4)
            .map(|step| MetricRecord::Train {
                step,
                loss: 1.0 / step as f64,
                mean_weight: Some(1.0),
                learning_rate: 0.1,
                grad_norm: 1.5,
                tokens_per_second: 10.0,
                seconds: 2.0,
            })
            .collect();
        let whole: Vec<String> = records.iter().map(to_line).collect();
        for damaged in 0..4 {
            let mut lines: Vec<Vec<u8>> = whole.iter().map(|line| line.clone().into()).collect();
            // No text either: a disk that lost power leaves such bytes.
            lines[damaged][3..9].copy_from_slice(b"\xff\0\0\0\0\0");
            std::fs::write(&path, lines.concat()).unwrap();
            assert_eq!(Parsed::from_bytes(&lines.concat()).damaged, [damaged + 1]);
            let mut kept = records.clone();
            kept.remove(damaged);
            assert_eq!(MetricsLog::read(&path).unwrap(), kept);
            MetricsLog::open(&path, 4, true).unwrap();
            let content = std::fs::read(&path).unwrap();
            let parsed = Parsed::from_bytes(&content);
            assert_eq!((parsed.records, parsed.damaged), (kept, vec![]));
        }
    }
}
