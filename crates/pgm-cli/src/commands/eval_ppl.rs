use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use pgm_model::LanguageModel;
use pgm_perplexity::{
    EvaluationTimes, Perplexity, PerplexityError, PerplexityKind, PerplexityReport, ScoredSequence,
};
use pgm_train::control_flow;
use serde_json::json;

use super::eval_text::TextArgs;
use super::results_folder::{open_results, results_folder};
use super::run_args::RunArgs;
use super::run_start::provenance;
use crate::device::{self, Backend};
use crate::progress::Stage;
use crate::{format, interrupt};

/// Perplexity on the held-out text of a run, or on any text, with its standard error
///
/// For autoregressive models it is exact. For diffusion models (PGM, MDLM) it is estimated by Monte Carlo over what is
/// hidden, as in published figures, which lie up to 0.1 % of the nats below an upper bound and are none;
/// --times full estimates the bound, which is what to compare with an autoregressive model. More draws narrow the
/// standard error. Each sequence is written down as it is scored: the same command goes on where it was stopped, and
/// with a larger --n it scores only the new ones.
#[derive(Debug, Args)]
pub struct EvalPplArgs {
    #[command(flatten)]
    model: RunArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Masks or partitions drawn for each sequence
    #[arg(long, default_value_t = 1)]
    draws: usize,
    /// Diffusion times over which the nats of a PGM or MDLM are integrated
    #[arg(long, value_enum, default_value_t = Times::Published)]
    times: Times,
    /// Sequences to use [default: all]
    #[arg(long)]
    n: Option<usize>,
    /// Sequences that go through the network at once
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Folder for the nats of each sequence [default: `perplexities` in the run's folder, or beside --weights]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Times {
    /// From 0.001 to 1, as published; no bound
    Published,
    /// All from 0 to 1: an upper bound of the likelihood's nats
    Full,
}

impl From<Times> for EvaluationTimes {
    fn from(times: Times) -> Self {
        match times {
            Times::Published => Self::Published,
            Times::Full => Self::Full,
        }
    }
}

impl EvalPplArgs {
    pub fn run(mut self) -> Result<ExitCode> {
        self.model.locate()?;
        let device = device::open(self.backend)?;
        let run = self.model.load(&device)?;
        let usual = self.model.output_folder().join("perplexities");
        let folder = results_folder(self.results.as_deref(), usual)?;
        let text = self.text.open(&self.model, &run, &folder)?;
        let available = text.rows.n_rows();
        let n_sequences = self.n.unwrap_or(available);
        if n_sequences > available {
            bail!("--n is {n_sequences}, the text has {available} sequences");
        }
        let is_exact = matches!(run.model.network, LanguageModel::Causal(_));
        let estimate = Perplexity {
            n_sequences: Some(n_sequences),
            n_draws: self.draws,
            times: self.times.into(),
            batch_size: self.batch_size,
            seed: self.seed,
            mask_token: run.model.mask_token,
        };
        let mut settings = self.model.settings(&run)?;
        settings["text"] = text.settings();
        settings["n_draws"] = json!(if is_exact { 0 } else { self.draws });
        settings["seed"] = json!(self.seed);
        // Files of the published estimate have not always said so.
        if !is_exact && self.times == Times::Full {
            settings["times"] = json!("full");
        }
        let mut results = open_results::<ScoredSequence>(&folder, &settings, "sequences scored")?;
        let path = results.path().display().to_string();
        let interrupter = interrupt::graceful("stopping after this batch, which is kept")?;
        let mut stage = Stage::new("score", n_sequences);
        let report = estimate.estimate(
            &run.model.network,
            &text.rows,
            &device,
            &mut results,
            &mut |done, total| {
                stage.update(done, total, "sequences");
                control_flow(&interrupter)
            },
        );
        drop(stage);
        let report = match report {
            Err(PerplexityError::Interrupted) => {
                let n_done = results.samples().len();
                return Ok(interrupt::stopped(n_done, n_sequences, "sequences"));
            }
            report => report?,
        };
        let counted = if is_exact {
            "all but padding and the first of each row, which is BOS; the last counts"
        } else {
            "all but padding, hidden or not, BOS and EOS among them; the last counts"
        };
        if self.json {
            let report = json!({
                "report": report,
                "tokens_counted": counted,
                "settings": settings,
                "results": path,
                "program": provenance(&device),
            });
            println!("{report}");
            return Ok(ExitCode::SUCCESS);
        }
        self.print_report(&report);
        for (name, value) in [
            ("text", text.source_in_words()),
            ("rows", text.rows_in_words()),
            ("tokens", counted.to_owned()),
            ("weights", self.model.weights_in_words(&run)),
            ("results", format!("`{path}`")),
        ] {
            println!("{name:<10} {value}");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Perplexity and nats, and what kind of figures they are.
    fn print_report(&self, report: &PerplexityReport) {
        println!("perplexity {}", format::perplexity(report));
        println!(
            "nll {:.4} ± {:.4} nats per token (standard error), {}",
            report.nll,
            report.nll_standard_error,
            match report.kind {
                PerplexityKind::Exact => "exact".to_owned(),
                PerplexityKind::UpperBound => {
                    format!(
                        "estimate of an upper bound; seed of the draws {}",
                        self.seed
                    )
                }
                PerplexityKind::Published => format!(
                    "as published, no upper bound (--times full is one); seed of the draws {}",
                    self.seed
                ),
            }
        );
    }
}
