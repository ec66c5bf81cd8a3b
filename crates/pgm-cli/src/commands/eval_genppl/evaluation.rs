use std::path::Path;

use anyhow::{Result, anyhow};
use burn_train::Interrupter;
use pgm_eval::{
    EvalError, FeatureText, GenerativeEvaluation, GenerativePerplexity, GenerativeReport, Judge,
    JudgingProgress, SampleSource,
};
use pgm_train::control_flow;
use serde_json::{Value, json};

use super::super::results_folder::{open_results, results_folder};
use crate::progress::Stage;

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
    ) -> Result<GenerativeEvaluation> {
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
        let mut results = open_results(&folder, &settings, "samples judged")?;
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
        Ok(GenerativeEvaluation {
            report: GenerativeReport::from_samples(samples, self.seed)?,
            features: features.collect(),
            curve: String::new(),
            n_steps: 0,
            drawing: None,
            name,
            settings,
            results: results.path().to_path_buf(),
        })
    }
}
