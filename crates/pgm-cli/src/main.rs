//! The command `pgm`: trains, evaluates and samples partition generative models and their
//! baselines.

mod commands;
mod dashboard;
mod device;
mod error_text;
mod format;
mod hub_access;
mod interrupt;
mod introduction;
mod live_text;
mod log_output;
mod model_name;
mod pretrained;
mod progress;
mod text_check;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::commands::{
    BenchArgs, ConvertArgs, DistillArgs, EvalChoiceArgs, EvalGenpplArgs, EvalPplArgs, InfoArgs,
    PrepareDataArgs, SampleArgs, TrainArgs,
};

/// Tensors on the CPU come and go by the megabyte; the system's allocator hands each back to the
/// kernel and faults its pages in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AFTER_HELP: &str = "\
Examples:
  pgm sample                                text of the pretrained model
  pgm train                                 train the small model of the quick start
  pgm train --objective mdlm                the same with masked diffusion
  pgm sample --run runs/quickstart-pgm --n 8 --steps 32
  pgm eval-ppl --run runs/quickstart-pgm --draws 4
  pgm train --from pretrained --set 'data.inputs=[\"FOLDER\"]'
  pgm distill                               its student for few sampling steps
  pgm eval-genppl --judge hub:openai-community/gpt2-large --n 1024
  pgm eval-choice --questions lambada.jsonl
  pgm info --objective ar                   parameters, arithmetic and memory before training
  pgm convert pgm_8_8.ckpt --to safetensors --output pgm_8_8.safetensors

Results go to stdout, progress and logs to stderr. RUST_LOG=debug shows more.";

/// With the commit that the program was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("PGM_COMMIT"), ")");

/// Partition generative models: masked generative modelling without masks.
#[derive(Debug, Parser)]
#[command(name = "pgm", version = VERSION, about, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(TrainArgs),
    Distill(DistillArgs),
    Sample(SampleArgs),
    EvalPpl(EvalPplArgs),
    EvalGenppl(EvalGenpplArgs),
    EvalChoice(EvalChoiceArgs),
    Info(InfoArgs),
    Convert(ConvertArgs),
    PrepareData(PrepareDataArgs),
    Bench(BenchArgs),
}

fn main() -> std::process::ExitCode {
    // A reader that goes away (`pgm info ... | head -1`) ends this program, too, instead of making it panic.
    sigpipe::reset();
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,pgm=info")),
        )
        .with_writer(log_output::LogOutput)
        .with_target(false)
        .without_time()
        .init();
    introduction::introduce();
    let result = match cli.command {
        Command::Train(args) => args.run(),
        Command::Distill(args) => args.run(),
        Command::Sample(args) => args.run(),
        Command::EvalPpl(args) => args.run(),
        Command::EvalGenppl(args) => args.run(),
        Command::EvalChoice(args) => args.run(),
        Command::Info(args) => args.run(),
        Command::Convert(args) => args.run(),
        Command::PrepareData(args) => args.run(),
        Command::Bench(args) => args.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error_text::error_text(&error));
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
