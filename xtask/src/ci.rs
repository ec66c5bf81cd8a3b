//! `cargo xtask ci`: all that has to pass.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::command_line::CommandLine;

/// Run all that has to pass: format, lints, docs, tests, a shortened quick start
///
/// Stops at the first step that fails and names it.
#[derive(Debug, Args)]
pub struct CiArgs {
    /// Leave a step out; may be given several times
    #[arg(long, value_name = "STEP")]
    skip: Vec<Step>,
}

/// A step of `cargo xtask ci`, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The code is formatted
    Fmt,
    /// No lint warns
    Clippy,
    /// The feature `cuda` compiles; needs neither a GPU nor the CUDA toolkit
    Cuda,
    /// The docs build without warnings
    Doc,
    /// The example outside the workspace resolves; its program runs among the tests
    Example,
    /// Licences, sources and advisories of the dependencies; only where cargo-deny is installed
    Deny,
    /// The tests on the CPU and on a GPU API
    Test,
    /// The quick start, cut to 30 steps
    Train,
    /// Draws text from it
    Sample,
    /// Measures its perplexity
    EvalPpl,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StepOutcome {
    Passed(Duration),
    Failed(Duration),
    Skipped(&'static str),
}

impl CiArgs {
    /// Runs the steps and shows a table.
    ///
    /// # Errors
    /// If a command cannot be started or the temporary folder not be made.
    pub fn run(self) -> Result<ExitCode> {
        let folder = tempfile::Builder::new()
            .prefix("pgm-ci-")
            .tempdir()
            .context("making a temporary folder for the quick start")?;
        let mut outcomes = Vec::new();
        let mut failure = None;
        for &step in Step::value_variants() {
            let outcome = if failure.is_some() {
                StepOutcome::Skipped("not reached")
            } else if self.skip.contains(&step) {
                StepOutcome::Skipped("left out by --skip")
            } else if step == Step::Deny && !has_cargo_deny() {
                StepOutcome::Skipped(
                    "cargo-deny is not installed: `cargo install cargo-deny --locked`",
                )
            } else {
                run_step(step, folder.path())?
            };
            if matches!(outcome, StepOutcome::Failed(_)) {
                failure = Some(step);
            }
            outcomes.push((step, outcome));
        }
        eprintln!("\n{}", table(&outcomes));
        Ok(match failure {
            None => ExitCode::SUCCESS,
            Some(step) => {
                let command_line = step.command_line(folder.path());
                eprintln!("\nerror: step `{}` failed: {command_line}", step.name());
                ExitCode::FAILURE
            }
        })
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value()
            .expect("no step is hidden")
            .get_name()
            .to_owned()
    }

    /// The call of cargo; the quick start leaves its run in a folder inside `folder`.
    fn command_line(self, folder: &Path) -> CommandLine {
        let run = folder.join("run");
        let with_run = |args: &[&str]| {
            let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
            args.push(run.clone().into_os_string());
            CommandLine::cargo(args)
        };
        match self {
            Self::Fmt => CommandLine::cargo(["fmt", "--all", "--check"]),
            Self::Clippy => CommandLine::cargo([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
            Self::Cuda => {
                CommandLine::cargo(["check", "--package", "pgm-cli", "--features", "cuda"])
            }
            Self::Doc => CommandLine::cargo(["doc", "--workspace", "--no-deps"])
                .with_variable("RUSTDOCFLAGS", "-D warnings"),
            Self::Example => CommandLine::cargo([
                "tree",
                "--depth",
                "0",
                "--manifest-path",
                "examples/embed-pgm/Cargo.toml",
            ]),
            Self::Deny => CommandLine::cargo(["deny", "check"]),
            Self::Test => CommandLine::cargo(["xtask", "test", "--require", "flex,wgpu"]),
            Self::Train => {
                with_run(&["xtask", "train", "--set", "training.n_steps=30", "--output"])
            }
            Self::Sample => with_run(&["xtask", "sample", "--n", "2", "--run"]),
            Self::EvalPpl => with_run(&["xtask", "eval-ppl", "--run"]),
        }
    }
}

fn run_step(step: Step, folder: &Path) -> Result<StepOutcome> {
    eprintln!("\n=== {} ===", step.name());
    let started = Instant::now();
    let status = step.command_line(folder).run()?;
    let elapsed = started.elapsed();
    eprintln!("=== {}: {status}, {} s ===", step.name(), elapsed.as_secs());
    Ok(if status.success() {
        StepOutcome::Passed(elapsed)
    } else {
        StepOutcome::Failed(elapsed)
    })
}

fn has_cargo_deny() -> bool {
    Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn table(outcomes: &[(Step, StepOutcome)]) -> String {
    let row = |(step, outcome): &(Step, StepOutcome)| {
        let result = match outcome {
            StepOutcome::Passed(elapsed) => format!("passed   {:>5} s", elapsed.as_secs()),
            StepOutcome::Failed(elapsed) => format!("FAILED   {:>5} s", elapsed.as_secs()),
            StepOutcome::Skipped(reason) => format!("skipped  {reason}"),
        };
        format!("{:<9} {result}", step.name())
    };
    outcomes.iter().map(row).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_is_as_documented() {
        let plan: Vec<String> = Step::value_variants()
            .iter()
            .map(|step| format!("{}: {}", step.name(), step.command_line(Path::new("tmp"))))
            .collect();
        let run = Path::new("tmp").join("run");
        let run = run.display();
        assert_eq!(
            plan,
            [
                "fmt: cargo fmt --all --check".to_owned(),
                "clippy: cargo clippy --workspace --all-targets -- -D warnings".to_owned(),
                "cuda: cargo check --package pgm-cli --features cuda".to_owned(),
                "doc: RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps".to_owned(),
                "example: cargo tree --depth 0 --manifest-path examples/embed-pgm/Cargo.toml"
                    .to_owned(),
                "deny: cargo deny check".to_owned(),
                "test: cargo xtask test --require flex,wgpu".to_owned(),
                format!("train: cargo xtask train --set training.n_steps=30 --output {run}"),
                format!("sample: cargo xtask sample --n 2 --run {run}"),
                format!("eval-ppl: cargo xtask eval-ppl --run {run}"),
            ]
        );
    }

    #[test]
    fn the_table_has_a_row_a_step() {
        let outcomes = [
            (Step::Fmt, StepOutcome::Passed(Duration::from_secs(2))),
            (Step::Clippy, StepOutcome::Failed(Duration::from_secs(75))),
            (Step::EvalPpl, StepOutcome::Skipped("not reached")),
        ];
        assert_eq!(
            table(&outcomes),
            "fmt       passed       2 s\n\
             clippy    FAILED      75 s\n\
             eval-ppl  skipped  not reached"
        );
    }
}
