//! Progress on stderr: a moving line on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pgm_data::PrepareProgress;
use pgm_train::{NATS_PER_TOKEN, TrainingEvent, TrainingObserver};

use crate::format;

/// Between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Letters of a sample that are shown.
const SAMPLE_LETTERS: usize = 120;

/// One stage of work.
pub struct Stage {
    bar: Option<ProgressBar>,
    name: String,
    last_line: Instant,
}

impl Stage {
    /// Starts a stage of `total` units.
    pub fn new(name: &str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix:>10} {bar:32} {pos}/{len} {msg}")
                .expect("the template is valid");
            let bar = ProgressBar::new(total as u64).with_style(style);
            bar.set_prefix(name.to_string());
            bar
        });
        Self {
            bar,
            name: name.to_string(),
            last_line: Instant::now(),
        }
    }

    /// Shows how far the work is.
    pub fn update(&mut self, done: usize, total: usize, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(message.to_string());
            }
            None => {
                if done == total || self.last_line.elapsed() >= PLAIN_INTERVAL {
                    self.last_line = Instant::now();
                    eprintln!("{:>10} {done}/{total} {message}", self.name);
                }
            }
        }
    }

    fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows a training run.
#[derive(Default)]
pub struct TrainingProgress {
    stage: Option<Stage>,
}

impl TrainingProgress {
    fn stage(&mut self, name: &str, total: usize) -> &mut Stage {
        if self.stage.as_ref().is_none_or(|stage| stage.name != name) {
            self.stage = Some(Stage::new(name, total));
        }
        self.stage.as_mut().expect("it was just set")
    }

    fn note(&mut self, line: &str) {
        match &self.stage {
            Some(stage) => stage.note(line),
            None => eprintln!("{line}"),
        }
    }

    /// Shows how far the preparation of the text is.
    pub fn prepare(&mut self, event: PrepareProgress) {
        match event {
            PrepareProgress::Scanned {
                n_files,
                n_files_total,
                n_bytes,
            } if n_files == n_files_total => self.note(&format!(
                "{:>10} {} files, {} bytes",
                "text",
                format::count(n_files),
                format::short(n_bytes as f64)
            )),
            PrepareProgress::Reused => {
                self.note(&format!("{:>10} tokens are there already", "data"));
            }
            PrepareProgress::TrainingTokenizer { vocab_size } => self.note(&format!(
                "{:>10} learning {} tokens from the text",
                "tokenizer",
                format::count(vocab_size)
            )),
            PrepareProgress::Tokenized {
                n_bytes,
                n_bytes_total,
                n_tokens,
            } => {
                let megabytes = |n_bytes: u64| n_bytes.div_ceil(1_000_000) as usize;
                let (done, total) = (megabytes(n_bytes), megabytes(n_bytes_total));
                let message = format!("MB, {} tokens", format::short(n_tokens as f64));
                self.stage("data", total).update(done, total, &message);
            }
            _ => {}
        }
    }
}

impl TrainingObserver for TrainingProgress {
    fn on_event(&mut self, event: TrainingEvent) {
        match event {
            TrainingEvent::Preparing(event) => self.prepare(event),
            TrainingEvent::Ready {
                n_train_sequences,
                n_validation_sequences,
                vocab_size,
                n_parameters,
            } => self.note(&format!(
                "{:>10} {} training and {} validation sequences, vocabulary {}, {} parameters",
                "model",
                format::count(n_train_sequences),
                format::count(n_validation_sequences),
                format::count(vocab_size),
                format::count(n_parameters),
            )),
            TrainingEvent::Resumed { step } => self.note(&format!(
                "{:>10} from the checkpoint of step {}",
                "resumed",
                format::count(step)
            )),
            TrainingEvent::Step {
                step,
                n_steps,
                loss,
                loss_unit,
                tokens_per_second,
                remaining,
                ..
            } => {
                let left = remaining.map_or_else(String::new, |left| {
                    format!(", {} left", format::duration(left))
                });
                let message = format!(
                    "loss {loss:.3} ({loss_unit}), {} tokens/s{left}",
                    format::short(tokens_per_second)
                );
                self.stage("train", n_steps).update(step, n_steps, &message);
            }
            TrainingEvent::Validating { done, total } => {
                self.stage("validate", total)
                    .update(done, total, "sequences");
            }
            TrainingEvent::Validated { step, report } => self.note(&format!(
                "{:>10} step {}: loss {:.3} ({NATS_PER_TOKEN}), perplexity {:.2} ± {:.2}",
                "validation",
                format::count(step),
                report.nll,
                report.perplexity,
                report.perplexity_standard_error,
            )),
            TrainingEvent::Saved { step, path } => {
                tracing::debug!(step, path = %path.display(), "checkpoint");
            }
            TrainingEvent::Sampling { done, total } => {
                self.stage("sample", total).update(done, total, "steps");
            }
            TrainingEvent::Sampled { step, texts } => {
                self.stage = None;
                if let Some(text) = texts.first() {
                    self.note(&format!(
                        "{:>10} step {}: {}",
                        "sample",
                        format::count(step),
                        format::one_line(text, SAMPLE_LETTERS)
                    ));
                }
            }
            _ => {}
        }
    }
}
