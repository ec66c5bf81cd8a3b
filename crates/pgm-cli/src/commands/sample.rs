use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};
use pgm_eval::{Generator, SamplerKind};

use super::run_args::RunArgs;
use crate::device::{self, Backend};
use crate::format;
use crate::progress::Stage;

/// Draw text from a trained model
///
/// The same seed gives the same text, whatever the batch size. Text goes to stdout.
#[derive(Debug, Args)]
pub struct SampleArgs {
    #[command(flatten)]
    model: RunArgs,
    /// Sequences to draw
    #[arg(long, default_value_t = 4)]
    n: usize,
    /// Sampling steps: fewer are faster, more are better; autoregressive models take one a token
    /// [default: the run's]
    #[arg(long)]
    steps: Option<usize>,
    /// Tokens of a sequence [default: the run's]
    #[arg(long, value_name = "TOKENS")]
    length: Option<usize>,
    /// Divides the logits: below 1 is safer, 0 takes the most likely token [default: the run's]
    #[arg(long)]
    temperature: Option<f64>,
    /// The way of drawing [default: the model's usual one]
    #[arg(long)]
    sampler: Option<Sampler>,
    /// Seed of all draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sequences drawn at once
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    /// One JSON object a sequence (text and token ids) instead of plain text
    #[arg(long)]
    json: bool,
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sampler {
    /// PGM: the same number of positions a step, known tokens only
    Uniform,
    /// PGM: the forward pass of training at full length (slow, for comparison)
    Naive,
    /// MDLM: ancestral sampling
    Ancestral,
    /// AR: token after token
    Autoregressive,
}

impl From<Sampler> for SamplerKind {
    fn from(sampler: Sampler) -> Self {
        match sampler {
            Sampler::Uniform => Self::Uniform,
            Sampler::Naive => Self::Naive,
            Sampler::Ancestral => Self::Ancestral,
            Sampler::Autoregressive => Self::Autoregressive,
        }
    }
}

impl SampleArgs {
    pub fn run(self) -> Result<ExitCode> {
        let device = device::open(self.backend)?;
        let run = self.model.load(&device)?;
        let generator = Generator {
            sampler: self.sampler.map(Into::into).or(run.config.sampling.sampler),
            n_sequences: self.n,
            batch_size: self.batch_size,
            seq_len: self.length.unwrap_or(run.config.data.seq_len),
            n_steps: self.steps.unwrap_or(run.config.sampling.n_steps),
            temperature: self.temperature.unwrap_or(run.config.sampling.temperature),
            seed: self.seed,
            bos_token: run.tokenizer.bos_id(),
            mask_token: run.mask_token as u32,
        };
        if generator.seq_len > run.config.data.seq_len {
            tracing::warn!(
                length = generator.seq_len,
                trained = run.config.data.seq_len,
                "longer than the sequences the model was trained on"
            );
        }
        let started = Instant::now();
        let mut stage = Stage::new("sample", generator.n_steps);
        let generated = generator.generate(&run.network, &device, &mut |done, total| {
            stage.update(done, total, "steps");
            true
        })?;
        drop(stage);
        let elapsed = started.elapsed();
        for (i, sequence) in generated.sequences.iter().enumerate() {
            let text = run.tokenizer.decode(sequence)?;
            if self.json {
                println!(
                    "{}",
                    serde_json::json!({ "text": text, "tokens": sequence })
                );
            } else {
                println!("--- sample {} ---\n{}\n", i + 1, text.trim());
            }
        }
        let n_tokens = generated.sequences.len() * generator.seq_len;
        eprintln!(
            "{} sequences of {} tokens in {} ({} tokens/s), sampler {}, {} network evaluations, seed {}",
            format::count(generated.sequences.len()),
            format::count(generator.seq_len),
            format::duration(elapsed),
            format::short(n_tokens as f64 / elapsed.as_secs_f64()),
            generated.sampler.name(),
            format::count(generated.network_evaluations),
            self.seed,
        );
        Ok(ExitCode::SUCCESS)
    }
}
