//! `cargo xtask test`.

use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::adapter;
use crate::command_line::CommandLine;
use crate::tests_summary::{Outcome, TestedBackend, TestsSummary};

/// Run the tests: all on the CPU, those of the kernels and the trainer on a GPU API
///
/// The second part needs no GPU: Mesa's Vulkan driver for the CPU will do. Without any adapter it is
/// left out, and the summary at the end says how to get one.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Fail where one of these backends cannot be run
    #[arg(long, value_delimiter = ',', value_name = "BACKENDS")]
    require: Vec<TestedBackend>,
    /// Run these backends only
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "BACKENDS",
        conflicts_with = "require"
    )]
    only: Vec<TestedBackend>,
}

/// The packages with tests for any backend, which take the backend as a feature, and those tests.
const BACKEND_PACKAGES: [&str; 2] = ["partition-attention", "pgm-train"];
const BACKEND_TESTS: [&str; 2] = ["attention", "cross_backend"];

impl TestArgs {
    /// Runs the tests and shows the summary.
    ///
    /// # Errors
    /// If cargo cannot be started.
    pub fn run(self) -> Result<ExitCode> {
        let mut outcomes = Vec::new();
        for backend in [TestedBackend::Flex, TestedBackend::Wgpu] {
            let outcome = if self.is_asked(backend) {
                test(backend)?
            } else {
                Outcome::NotAsked
            };
            outcomes.push((backend, outcome));
        }
        let summary = TestsSummary {
            outcomes,
            required: self.required(),
        };
        eprintln!("\n{summary}");
        Ok(if summary.is_success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn is_asked(&self, backend: TestedBackend) -> bool {
        self.only.is_empty() || self.only.contains(&backend)
    }

    /// Who names a backend wants it run.
    fn required(&self) -> Vec<TestedBackend> {
        [self.require.as_slice(), &self.only].concat()
    }
}

/// The call of cargo that tests a backend.
pub fn command_line(backend: TestedBackend) -> CommandLine {
    let mut args = vec!["test".to_owned()];
    match backend {
        TestedBackend::Flex => args.push("--workspace".to_owned()),
        TestedBackend::Wgpu => {
            for package in BACKEND_PACKAGES {
                args.extend(["--package".to_owned(), package.to_owned()]);
            }
            let features = BACKEND_PACKAGES.map(|package| format!("{package}/wgpu"));
            args.extend(["--features".to_owned(), features.join(",")]);
            for test in BACKEND_TESTS {
                args.extend(["--test".to_owned(), test.to_owned()]);
            }
        }
    }
    CommandLine::cargo(args)
}

fn test(backend: TestedBackend) -> Result<Outcome> {
    let device = match backend {
        TestedBackend::Flex => cpu(),
        TestedBackend::Wgpu => match wgpu_device() {
            Ok(device) => device,
            Err(missing) => return Ok(missing),
        },
    };
    eprintln!("testing {} on {device}", backend.name());
    let started = Instant::now();
    let status = command_line(backend).run()?;
    let elapsed = started.elapsed();
    Ok(if status.success() {
        Outcome::Passed { device, elapsed }
    } else {
        Outcome::Failed { device, elapsed }
    })
}

fn cpu() -> String {
    match available_parallelism() {
        Ok(n_threads) => format!("the CPU, {n_threads} threads"),
        Err(_) => "the CPU".to_owned(),
    }
}

/// All adapters, as `wgpu` makes its own choice among them.
fn wgpu_device() -> Result<String, Outcome> {
    let missing = |reason| Outcome::Missing {
        reason,
        remedy: adapter::HOW_TO_GET_ONE.to_owned(),
    };
    let adapters = adapter::find().map_err(|error| missing(format!("{error:#}")))?;
    if adapters.is_empty() {
        return Err(missing("no Vulkan driver here has a device".to_owned()));
    }
    let names: Vec<String> = adapters.iter().map(ToString::to_string).collect();
    Ok(names.join("; or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_runs_every_test() {
        assert_eq!(
            command_line(TestedBackend::Flex).to_string(),
            "cargo test --workspace"
        );
    }

    #[test]
    fn wgpu_runs_the_tests_for_any_backend() {
        assert_eq!(
            command_line(TestedBackend::Wgpu).to_string(),
            "cargo test --package partition-attention --package pgm-train \
             --features partition-attention/wgpu,pgm-train/wgpu --test attention --test cross_backend"
        );
    }
}
