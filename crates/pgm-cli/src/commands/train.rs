use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use pgm_data::BadLines;
use pgm_perplexity::PerplexityReport;
use pgm_train::{NATS_PER_TOKEN, Outcome, RunFolder, Trainer};

use super::config_args::ConfigArgs;
use super::from_args::FromArgs;
use super::run_start::{observer, provenance};
use crate::device::{self, Backend};
use crate::{format, interrupt};

/// Train a model: prepares the text, trains, validates and draws samples
///
/// Without arguments this is the quick start: a small partition generative model on the public-domain
/// text that comes with the project, on the CPU, in a few minutes.
///
/// With --from a run begins with the weights of another model and goes on on text of your own: --from pretrained --set
/// 'data.inputs=["FOLDER"]'. Tokenizer, sizes, objective and length of sequences are those of the weights; the optimizer
/// starts anew, with a small learning rate and few steps unless something else is said.
///
/// Ctrl-C stops after the current step and saves; the same command goes on from there. A run is trained by one process
/// at a time; a second one says which has it, and ends.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    from: FromArgs,
    /// Folder of the run [default: runs/NAME-OBJECTIVE]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Delete the run that is in the folder and start anew
    #[arg(long)]
    restart: bool,
    /// Leave out lines of `.jsonl` files that are no documents, with a count (`data.bad_lines`)
    #[arg(long)]
    skip_bad_lines: bool,
    /// Plain lines instead of the dashboard, on a terminal too
    #[arg(long)]
    plain: bool,
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

impl TrainArgs {
    pub fn run(self) -> Result<ExitCode> {
        let device = device::open(self.backend)?;
        let source = self.from.open(&device)?;
        let mut config = match &source {
            Some(source) => self.config.load_for(&source.model, &source.name)?,
            None => self.config.load()?,
        };
        if self.skip_bad_lines {
            config.data.bad_lines = BadLines::Skip;
        }
        let root = self.output.unwrap_or_else(|| {
            let name = format!("{}-{}", config.name, config.objective.kind.name());
            PathBuf::from("runs").join(name)
        });
        let folder = RunFolder::new(&root);
        let lock = folder.lock()?;
        let is_from_weights = source.is_some();
        let start = match source {
            Some(source) => Some(source.start(&mut config, &folder)?),
            None => None,
        };
        if self.restart {
            lock.clear(&[pgm_distill::DISTILLATION_FILE])?;
        }
        let n_steps = config.training.n_steps;
        if let Some(found) = folder.latest_checkpoint()?
            && found.step >= n_steps
        {
            eprintln!(
                "`{}` has its {} steps already; validating and sampling again (--restart trains anew)",
                root.display(),
                format::count(found.step)
            );
        }
        let interrupter = interrupt::graceful("stopping, and saving the last finished step")?;
        let provenance = provenance(&device);
        let mut observer = observer(self.plain, &interrupter, n_steps, NATS_PER_TOKEN);
        let started = Instant::now();
        let mut trainer = Trainer::new(config, folder.clone(), device, interrupter, &mut *observer)
            .with_provenance(provenance)
            .with_lock(lock);
        if let Some(start) = start {
            trainer = trainer.with_start(start);
        }
        let outcome = trainer.run();
        // Gives the screen back before anything is said.
        drop(observer);
        let outcome = outcome?;
        match outcome {
            Outcome::Finished {
                validation,
                samples,
            } => {
                report(&folder, n_steps, started, &validation, &samples);
                suggest(&folder, n_steps, is_from_weights);
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Interrupted { step } => {
                eprintln!(
                    "stopped and saved at step {} of {}; run the same command to go on",
                    format::count(step),
                    format::count(n_steps)
                );
                Ok(ExitCode::from(130))
            }
        }
    }
}

fn report(
    folder: &RunFolder,
    n_steps: usize,
    started: Instant,
    validation: &PerplexityReport,
    samples: &[String],
) {
    let root = folder.root().display();
    for (i, sample) in samples.iter().enumerate() {
        println!("--- sample {} ---\n{}\n", i + 1, sample.trim());
    }
    println!(
        "Trained {} steps; this call took {}.",
        format::count(n_steps),
        format::duration(started.elapsed())
    );
    println!("Validation perplexity {}.", format::perplexity(validation));
    println!(
        "
Everything lies in {root}:
  config.toml     the run with every default written out
  checkpoints/    weights (raw and averaged), optimizer, position
  metrics.jsonl   training and validation loss (nats per token), learning rate, tokens/s
  loss.svg        the loss curve; open it in a browser
  samples.txt     the text above; samples/ has some from every validation
  history.jsonl   version, commit and device of each start"
    );
}

/// What to do with the run.
fn suggest(folder: &RunFolder, n_steps: usize, is_from_weights: bool) {
    let root = folder.root().display();
    if is_from_weights {
        println!("  from.json       the weights that it began with");
    }
    println!(
        "
Try next:
  cargo xtask sample --run {root} --n 8 --steps 32
  cargo xtask eval-ppl --run {root} --draws 4"
    );
    if !is_from_weights {
        println!(
            "  cargo xtask train --objective mdlm        (or ar, complement-mdlm)
  cargo xtask train --set training.n_steps={} --output {root}   (train on)",
            2 * n_steps
        );
    }
}
