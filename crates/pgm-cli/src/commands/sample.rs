use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use pgm_generation::{Context, GenerationError, Generator};

use super::run_args::RunArgs;
use super::sample_context::ContextArgs;
use super::sample_drawing::DrawingArgs;
use super::sample_watch::WatchArgs;
use crate::device::{self, Backend};
use crate::{format, interrupt};

const AFTER_HELP: &str = "\
Examples:
  pgm sample --n 8 --steps 32                             text from nothing
  pgm sample --prompt \"The king\" --top-p 0.9              continue a text
  pgm sample --infill \"The ___ of the ___:3 was\"          fill blanks in (PGM and MDLM)
  pgm sample --order confidence --block-length 16         sure positions first, in blocks
  pgm sample --sampler entropy-bound --entropy-bound 0.3  positions nearly independent, at once
  pgm sample --n 1 --steps 64 --picture picture.svg       the text at steps 1, 4, 16 and 64

Blanks: three or more underscores. `___:5` is filled with 5 tokens; blanks without a length share what --length
leaves, evenly. With a length for every blank the sequence ends with the template. Spaces before a blank belong to
the blank. `\\___` stands for the underscores themselves.

Samplers of a PGM: uniform (default), non-uniform, non-uniform-published, naive, entropy-bound, remask-cap,
remask-rescale. Of an MDLM: ancestral (default), uniform, published, cached, entropy-bound, remask-cap,
remask-rescale. Of an autoregressive model: autoregressive.";

/// Draw text from a trained model
///
/// The same seed gives the same text, whatever the batch size. Text goes to stdout; a terminal also
/// shows it while it is filled in. Settings that are left out are those of the run's `[sampling]` table.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct SampleArgs {
    #[command(flatten)]
    model: RunArgs,
    /// Sequences to draw; with templates, of each one
    #[arg(long, default_value_t = 2)]
    n: usize,
    /// Tokens of a sequence, BOS and prompt included [default: the run's]
    #[arg(long, value_name = "TOKENS")]
    length: Option<usize>,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    drawing: DrawingArgs,
    #[command(flatten)]
    watch: WatchArgs,
    /// Go on behind the token that ends a text
    #[arg(long)]
    no_eos_stop: bool,
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

impl SampleArgs {
    pub fn run(mut self) -> Result<ExitCode> {
        self.watch.check()?;
        self.model.locate()?;
        let device = device::open(self.backend)?;
        let run = self.model.load(&device)?;
        let tokenizer = &run.model.tokenizer;
        let seq_len = self.length.unwrap_or(run.config.data.seq_len);
        if seq_len > run.config.data.seq_len {
            tracing::warn!(
                length = seq_len,
                trained = run.config.data.seq_len,
                "longer than the sequences the model was trained on"
            );
        }
        let contexts = self.context.contexts(tokenizer, seq_len, self.n)?;
        let settings = self.drawing.settings(&run.config.sampling);
        settings.check()?;
        let generator = Generator {
            settings,
            batch_size: self.batch_size,
            seed: self.seed,
            mask_token: run.model.mask_token as u32,
            eos_token: (!self.no_eos_stop).then(|| tokenizer.eos_id()),
        };
        let started = Instant::now();
        let mut watcher = self
            .watch
            .open(&generator, tokenizer, &contexts, self.json)?;
        let generated =
            generator.generate(&run.model.network, &contexts, &device, &mut |progress| {
                watcher.hear(&progress)
            });
        let elapsed = started.elapsed();
        let generated = match generated {
            Err(GenerationError::Interrupted) => {
                drop(watcher);
                return Ok(interrupt::nothing_kept());
            }
            generated => generated?,
        };
        watcher.close(&generated.sequences)?;
        for (i, sequence) in generated.sequences.iter().enumerate() {
            let text = tokenizer.decode_sequence(sequence)?;
            if self.json {
                println!(
                    "{}",
                    serde_json::json!({ "text": text, "tokens": sequence })
                );
            } else {
                println!("--- sample {} ---\n{}\n", i + 1, text.trim());
            }
        }
        let n_tokens: usize = contexts.iter().map(Context::n_unknown).sum();
        eprintln!(
            "{} sequences, {} tokens drawn, in {} ({} tokens/s), sampler {}, {} network evaluations, seed {}",
            format::count(generated.sequences.len()),
            format::count(n_tokens),
            format::duration(elapsed),
            format::short(n_tokens as f64 / elapsed.as_secs_f64()),
            generated.sampler.name(),
            format::count(generated.network_evaluations),
            self.seed,
        );
        Ok(ExitCode::SUCCESS)
    }
}
