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
Every other command is one of `pgm`, which is built first: `cargo xtask train ...` is `pgm train ...`.
  `cargo xtask pgm --help` lists them all, `cargo xtask train --help` shows what train takes.
  --backend <flex|wgpu|vulkan|metal|cuda>   what is built and computed on; flex, the CPU, by default
  --release, --dev   the profile; by default dev for flex (its dependencies are optimised there as
                     well) and release for the others
  Everything else goes to `pgm` as it stands.

Examples:
  cargo xtask sample                       text of the pretrained model
  cargo xtask train                        train a small model on the CPU in a few minutes
  cargo xtask sample --run runs/quickstart-pgm --backend wgpu --n 8
                                           draw 8 texts from it on a GPU
  cargo xtask eval-ppl --run runs/quickstart-pgm
                                           measure its perplexity on held-out text
  cargo xtask train --from pretrained --set 'data.inputs=[\"FOLDER\"]'
                                           go on with the pretrained model on your own text
  cargo xtask bench train --backend cuda   how fast training steps are on a GPU

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
    /// Run the tests: all on the CPU, those of the kernels and the trainer on a GPU API
    Test(TestArgs),
    /// Run all that has to pass: format, lints, docs, tests, a shortened quick start
    Ci(CiArgs),
    /// Build `pgm` and run it; `cargo xtask pgm --help` lists its commands
    Pgm(PassedOn),
    /// A command of `pgm` with its arguments.
    #[command(external_subcommand)]
    PgmCommand(Vec<OsString>),
}

/// Arguments that are for `pgm`, but for the few that decide what is built.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
struct PassedOn {
    /// A command of `pgm` and its arguments
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
    match task {
        Task::Test(args) => args.run(),
        Task::Ci(args) => args.run(),
        Task::Pgm(PassedOn { args }) | Task::PgmCommand(args) => {
            let args = PgmArgs::split(args)?;
            pgm_binary::build(&args.build)?.run(&args.passed_on)
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

    /// What `pgm` is handed.
    fn passed_on(args: &[&str]) -> Vec<OsString> {
        match Cli::parse_from([&["cargo xtask"], args].concat()).task {
            Task::Pgm(PassedOn { args }) | Task::PgmCommand(args) => args,
            task => panic!("`{args:?}` was read as {task:?}"),
        }
    }

    #[test]
    fn help_of_a_pgm_command_reaches_pgm() {
        assert_eq!(passed_on(&["train", "--help"]), ["train", "--help"]);
        assert_eq!(passed_on(&["pgm", "--help"]), ["--help"]);
    }

    #[test]
    fn options_and_values_reach_pgm_in_order() {
        let args = ["sample", "--n", "2", "-v", "--", "--x"];
        assert_eq!(passed_on(&args), args);
        let with_pgm = [&["pgm"], &args[..]].concat();
        assert_eq!(passed_on(&with_pgm), args);
    }

    #[test]
    fn any_command_is_handed_on_and_the_own_ones_are_not() {
        for args in [
            &["bench", "train", "--n", "3"][..],
            &["a-command-of-tomorrow"],
        ] {
            assert_eq!(passed_on(args), args);
        }
        let own = |name: &str| Cli::parse_from(["cargo xtask", name]).task;
        assert!(matches!(own("test"), Task::Test(_)));
        assert!(matches!(own("ci"), Task::Ci(_)));
    }

    #[test]
    fn help_leads_to_the_commands_of_pgm() {
        let help = Cli::command().render_help().to_string();
        for words in [
            "cargo xtask pgm --help",
            "cargo xtask train",
            "--backend <",
            "\n  test ",
        ] {
            assert!(help.contains(words), "{words}: {help}");
        }
    }
}
