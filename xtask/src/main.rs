//! `cargo xtask`: project tasks. Builds the command `pgm` for a backend and runs it, runs the tests
//! on the backends of this machine, and runs everything that has to pass before a merge.
//!
//! It never depends on Burn, so that it is there within seconds.

mod adapter;
mod backend;
mod ci;
mod command_line;
mod pgm_args;
mod pgm_binary;
mod tests_run;
mod tests_summary;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::ci::CiArgs;
use crate::pgm_args::PgmArgs;
use crate::tests_run::TestArgs;

const AFTER_HELP: &str = "\
What the commands of `pgm` share:
  --backend <flex|wgpu|vulkan|metal|cuda>   what is built and computed on; flex, the CPU, by default
  --release, --dev   the profile; by default dev for flex (its dependencies are optimised there as
                     well) and release for the others
  Everything else goes to `pgm` as it stands; `cargo xtask train --help` shows what train takes.

Examples:
  cargo xtask sample                       text of the pretrained model
  cargo xtask train                        train a small model on the CPU in a few minutes
  cargo xtask sample --run runs/quickstart-pgm --backend wgpu --n 8
                                           draw 8 texts from it on a GPU
  cargo xtask train --from pretrained --set 'data.inputs=[\"FOLDER\"]'
                                           go on with the pretrained model on your own text

The first build for a backend takes some minutes.";

/// Project tasks of Partition Generative Models on Burn
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", about, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build `pgm` and train a model; without arguments the quick start
    Train(PassedOn),
    /// Build `pgm` and distil a trained model to fewer sampling steps
    Distill(PassedOn),
    /// Build `pgm` and draw text from a trained model; without `--run` or `--weights` the pretrained one
    Sample(PassedOn),
    /// Build `pgm` and measure the perplexity of a trained model
    EvalPpl(PassedOn),
    /// Build `pgm` and have a judge (GPT-2, Llama) say how likely the text of a trained model is
    EvalGenppl(PassedOn),
    /// Build `pgm` and have a trained model choose among answers, or say how texts end
    EvalChoice(PassedOn),
    /// Build `pgm` and show what a configuration, a run or a file with weights costs
    Info(PassedOn),
    /// Build `pgm` and write the weights of a run or of a published checkpoint in another format
    Convert(PassedOn),
    /// Build `pgm` and turn text into token shards that several runs share
    PrepareData(PassedOn),
    /// Run the tests: all on the CPU, those of the kernels and the trainer on a GPU API
    Test(TestArgs),
    /// Run all that has to pass: format, lints, docs, tests, a shortened quick start
    Ci(CiArgs),
}

/// Arguments that are for `pgm`, but for the few that decide what is built.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
struct PassedOn {
    /// Arguments of `pgm`; see `--help` of the command
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let (command, passed_on) = match task {
        Task::Train(passed_on) => ("train", passed_on),
        Task::Distill(passed_on) => ("distill", passed_on),
        Task::Sample(passed_on) => ("sample", passed_on),
        Task::EvalPpl(passed_on) => ("eval-ppl", passed_on),
        Task::EvalGenppl(passed_on) => ("eval-genppl", passed_on),
        Task::EvalChoice(passed_on) => ("eval-choice", passed_on),
        Task::Info(passed_on) => ("info", passed_on),
        Task::Convert(passed_on) => ("convert", passed_on),
        Task::PrepareData(passed_on) => ("prepare-data", passed_on),
        Task::Test(args) => return args.run(),
        Task::Ci(args) => return args.run(),
    };
    let args = PgmArgs::split(passed_on.args)?;
    pgm_binary::build(&args.build)?.run(command, &args.passed_on)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_of_a_pgm_command_reaches_pgm() {
        let cli = Cli::parse_from(["cargo xtask", "train", "--help"]);
        let Task::Train(passed_on) = cli.task else {
            panic!("`train` was read as {:?}", cli.task);
        };
        assert_eq!(passed_on.args, ["--help"]);
    }

    #[test]
    fn options_and_values_reach_pgm_in_order() {
        let cli = Cli::parse_from(["cargo xtask", "sample", "--n", "2", "-v", "--", "--x"]);
        let Task::Sample(passed_on) = cli.task else {
            panic!("`sample` was read as {:?}", cli.task);
        };
        assert_eq!(passed_on.args, ["--n", "2", "-v", "--", "--x"]);
    }
}
