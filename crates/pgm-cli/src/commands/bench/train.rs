use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use burn::module::Module;
use clap::Args;
use pgm_train::{ObjectiveTraining, TrainingMethod};
use serde::Serialize;

use super::network_args::NetworkArgs;
use super::output_args::OutputArgs;
use super::random_batch::random_batch;
use super::timing::{Timing, wait};
use crate::format;

/// Whole training steps: forward, backward, clipping, optimizer, averaged weights
#[derive(Debug, Args)]
pub struct TrainBenchArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// Sequences a step [default: the configuration's]
    #[arg(long)]
    batch_size: Option<usize>,
    /// Steps that count, after two that do not
    #[arg(long, default_value_t = 10)]
    n: usize,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct TrainResult {
    name: String,
    objective: &'static str,
    parameters: usize,
    batch: usize,
    length: usize,
    first_step_seconds: f64,
    timing: Timing,
    tokens_per_second: f64,
    losses: Vec<f32>,
}

impl TrainBenchArgs {
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.n > 0, "--n must be 1 or more");
        let mut config = self.network.config()?;
        if let Some(batch_size) = self.batch_size {
            config.training.batch_size = batch_size;
        }
        let device = self.output.open_device()?;
        let mask_token = self.network.mask_token();
        let mut state = self.network.state(&config, &device)?;
        let length = config.data.seq_len;
        let batch_size = config.training.batch_size;
        let n_tokens = batch_size * length;
        let batch = random_batch(&config, mask_token);
        let mut seconds = Vec::new();
        let mut losses = Vec::new();
        let mut go_on = || ControlFlow::Continue(());
        for step in 0..self.n + 2 {
            let started = Instant::now();
            let report =
                ObjectiveTraining.advance(&mut state, &config, &batch, &device, &mut go_on)?;
            wait(&device)?;
            seconds.push(started.elapsed().as_secs_f64());
            losses.push(report.nats_per_token().into_scalar::<f32>());
            eprintln!(
                "step {step}: {:.3} s, loss {:.4} (nats per token)",
                seconds[step], losses[step]
            );
        }
        let timing = Timing::from_seconds(seconds[2..].to_vec(), 1);
        let result = TrainResult {
            name: config.name.clone(),
            objective: config.objective.kind.name(),
            parameters: state.model.network.num_params(),
            batch: batch_size,
            length,
            first_step_seconds: seconds[0],
            timing,
            tokens_per_second: n_tokens as f64 / timing.median_seconds,
            losses,
        };
        println!(
            "{} ({}): {:.1} ms a step, {} tokens/s, first step {:.1} s",
            result.name,
            result.objective,
            timing.median_seconds * 1e3,
            format::short(result.tokens_per_second),
            result.first_step_seconds,
        );
        self.output.write("train", &device, &[result])?;
        Ok(ExitCode::SUCCESS)
    }
}
