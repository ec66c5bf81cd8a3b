use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use burn_train::Interrupter;
use pgm_eval::{
    EvalError, FeatureText, GenerativePerplexity, GenerativeReport, Judge, JudgingProgress,
    ResultsFile, SampleSource,
};
use pgm_train::control_flow;
use serde_json::{Value, json};

use super::super::results_folder::results_folder;
use crate::progress::Stage;

/// Texts from one source, judged.
pub struct Evaluation {
    /// The first column of the table.
    pub name: String,
    /// Which curve of a picture it belongs to.
    pub curve: String,
    /// Sampling steps.
    pub n_steps: usize,
    /// How the texts were drawn, in words; nothing for those of a file.
    pub drawing: Option<String>,
    /// What the judge said.
    pub report: GenerativeReport,
    /// All that decides the samples and their scores.
    pub settings: Value,
    /// Where the samples are.
    pub results: PathBuf,
    /// The judge's features of the texts, if they were asked for.
    pub features: Vec<Vec<f32>>,
}

/// Ctrl-C came.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("stopped after {n_done} of {n_wanted} samples")]
pub struct Stopped {
    /// Samples that were judged.
    pub n_done: usize,
    /// Samples that were wished for.
    pub n_wanted: usize,
}

/// What all evaluations of a call have in common.
pub struct Judging<'a> {
    pub judge: &'a Judge,
    pub batch_size: usize,
    pub max_length: usize,
    pub seed: u64,
    /// The form of the texts that MAUVE compares, if it does.
    pub features: Option<FeatureText>,
    pub interrupter: &'a Interrupter,
}

impl Judging<'_> {
    /// Judges texts, from where an earlier call was stopped; results go into `folder`.
    pub fn evaluate(
        &self,
        name: String,
        source: &mut dyn SampleSource,
        source_settings: Value,
        n_samples: usize,
        folder: &Path,
    ) -> Result<Evaluation> {
        let evaluation = GenerativePerplexity {
            n_samples,
            batch_size: self.batch_size,
            max_length: self.max_length,
            features: self.features,
        };
        let mut settings = json!({
            "judge": self.judge.name(),
            "judge_weight_bytes": self.judge.n_weight_bytes(),
            "judge_tokenizer": self.judge.tokenizer().fingerprint(),
            "max_length": self.max_length,
            "seed": self.seed,
            "source": source_settings,
        });
        if let Some(text) = self.features {
            let text = text.name();
            settings["features"] = json!(format!("last hidden state of the text {text}"));
        }
        let folder = results_folder(None, folder.to_path_buf())?;
        let path = folder.join(ResultsFile::name_for(&settings));
        let mut results = ResultsFile::open(&path, &settings)?;
        let n_found = results.samples().len();
        if n_found > 0 {
            tracing::info!(n_found, path = %path.display(), "going on with samples judged before");
        }
        let mut stage = Stage::new("judge", n_samples);
        let judged = evaluation.judge(self.judge, source, &mut results, &mut |progress| {
            let JudgingProgress {
                n_judged,
                n_samples,
                drawing,
            } = progress;
            let message = match drawing {
                Some((step, n_steps)) => format!("{name}: drawing, step {step} of {n_steps}"),
                None => format!("{name}: samples"),
            };
            stage.update(n_judged, n_samples, &message);
            control_flow(self.interrupter)
        });
        drop(stage);
        if let Err(EvalError::Interrupted) = judged {
            return Err(anyhow!(Stopped {
                n_done: results.samples().len(),
                n_wanted: n_samples,
            }));
        }
        judged?;
        let samples = &results.samples()[..n_samples];
        let features = samples.iter().filter_map(|sample| sample.feature.clone());
        Ok(Evaluation {
            report: GenerativeReport::of(samples, self.seed)?,
            features: features.collect(),
            curve: String::new(),
            n_steps: 0,
            drawing: None,
            name,
            settings,
            results: path,
        })
    }
}

impl Evaluation {
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "drawing": self.drawing,
            "settings": self.settings,
            "report": self.report,
            "results": self.results.display().to_string(),
        })
    }
}
