use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use pgm_eval::Perplexity;

use super::eval_text::TextArgs;
use super::run_args::RunArgs;
use crate::device::{self, Backend};
use crate::format;
use crate::progress::Stage;

/// Perplexity on the held-out text of a run, or on any text, with its standard error
///
/// For diffusion models (PGM, MDLM) this is an upper bound, estimated by Monte Carlo over what is
/// hidden; more draws narrow it. For autoregressive models it is exact.
#[derive(Debug, Args)]
pub struct EvalPplArgs {
    #[command(flatten)]
    model: RunArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Masks or partitions drawn for each sequence
    #[arg(long, default_value_t = 1)]
    draws: usize,
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
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

impl EvalPplArgs {
    pub fn run(mut self) -> Result<ExitCode> {
        self.model.locate()?;
        let device = device::open(self.backend)?;
        let run = self.model.load(&device)?;
        let data = match self.text.rows(&run, &self.model.output_folder())? {
            Some(rows) => rows,
            None if self.model.weights.is_some() => {
                bail!("--weights come without held-out text; name one with --text")
            }
            None => self.model.folder().validation_set(&run.config)?,
        };
        let estimate = Perplexity {
            n_sequences: self.n,
            n_draws: self.draws,
            batch_size: self.batch_size,
            seed: self.seed,
            mask_token: run.mask_token,
        };
        let mut stage = Stage::new("validate", self.n.unwrap_or(0));
        let report = estimate.estimate(&run.network, &data, &device, &mut |done, total| {
            stage.update(done, total, "sequences");
            true
        })?;
        drop(stage);
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            println!("perplexity {}", format::perplexity(&report));
            println!(
                "nll {:.4} ± {:.4} nats per token, {}",
                report.nll,
                report.nll_standard_error,
                match &self.model.weights {
                    Some(_) => format!("weights `{}`", self.model.source()),
                    None => format!("checkpoint of step {}", format::count(run.step)),
                }
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
