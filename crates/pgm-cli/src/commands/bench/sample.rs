use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use pgm_generation::{Context, Generator};
use serde::Serialize;

use super::network_args::NetworkArgs;
use super::output_args::OutputArgs;
use super::timing::Timing;
use crate::commands::sample_drawing::DrawingArgs;
use crate::format;

/// Sampling from nothing, start to end
#[derive(Debug, Args)]
pub struct SampleBenchArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    drawing: DrawingArgs,
    /// Sequences drawn at once; several are measured one by one
    #[arg(long, value_delimiter = ',', default_value = "32,1")]
    batch_size: Vec<usize>,
    /// Batches that count, after one that does not
    #[arg(long, default_value_t = 3)]
    n: usize,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct SampleResult {
    name: String,
    objective: &'static str,
    sampler: &'static str,
    batch: usize,
    length: usize,
    steps: usize,
    network_evaluations: usize,
    first_batch_seconds: f64,
    timing: Timing,
    tokens_per_second: f64,
}

impl SampleBenchArgs {
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.n > 0, "--n must be 1 or more");
        let config = self.network.config()?;
        let device = self.output.open_device()?;
        let mask_token = self.network.mask_token();
        let state = self.network.state(&config, &device)?;
        let network = state.evaluation_network();
        let length = config.data.seq_len;
        let settings = self.drawing.settings(&config.sampling);
        settings.check()?;
        let mut results = Vec::new();
        for &batch in &self.batch_size {
            let contexts = vec![Context::new(length, 0); batch];
            let mut seconds = Vec::new();
            let mut last = None;
            for seed in 0..=self.n as u64 {
                let generator = Generator {
                    settings: settings.clone(),
                    batch_size: batch,
                    seed,
                    mask_token: mask_token as u32,
                    eos_token: None,
                };
                let started = Instant::now();
                last = Some(generator.generate(&network, &contexts, &device, &mut |_| {
                    ControlFlow::Continue(())
                })?);
                seconds.push(started.elapsed().as_secs_f64());
                eprintln!(
                    "batch {batch}, draw {seed}: {:.3} s",
                    seconds[seconds.len() - 1]
                );
            }
            let drawn = last.expect("one batch or more was drawn");
            let timing = Timing::from_seconds(seconds[1..].to_vec(), 1);
            let result = SampleResult {
                name: config.name.clone(),
                objective: config.objective.kind.name(),
                sampler: drawn.sampler.name(),
                batch,
                length,
                steps: settings.n_steps,
                network_evaluations: drawn.network_evaluations,
                first_batch_seconds: seconds[0],
                timing,
                tokens_per_second: (batch * (length - 1)) as f64 / timing.median_seconds,
            };
            println!(
                "{} ({}), sampler {}, batch {batch}, {} steps: {:.3} s, {} tokens/s; first {:.1} s",
                result.name,
                result.objective,
                result.sampler,
                result.steps,
                timing.median_seconds,
                format::short(result.tokens_per_second),
                result.first_batch_seconds,
            );
            results.push(result);
            self.output.write("sample", &device, &results)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
