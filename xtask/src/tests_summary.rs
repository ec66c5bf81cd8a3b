//! What the tests ran on, what came of it, and what was left out and why.

use std::fmt;
use std::time::Duration;

/// A backend that has tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TestedBackend {
    /// The CPU: every test of the workspace
    Flex,
    /// A GPU API, or Vulkan on the CPU: the tests of the kernels and the trainer
    Wgpu,
}

impl TestedBackend {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
        }
    }
}

/// What came of the tests of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All tests passed.
    Passed {
        /// What they ran on.
        device: String,
        /// Build included.
        elapsed: Duration,
    },
    /// A test failed, or the tests could not be built.
    Failed {
        /// What they ran on.
        device: String,
        /// Build included.
        elapsed: Duration,
    },
    /// `--only` names others.
    NotAsked,
    /// Nothing to run on.
    Missing {
        /// What was looked for in vain.
        reason: String,
        /// How to get it.
        remedy: String,
    },
}

/// The outcomes of `cargo xtask test`.
#[derive(Debug)]
pub struct TestsSummary {
    /// One a backend.
    pub outcomes: Vec<(TestedBackend, Outcome)>,
    /// The backends without which the tests count as failed.
    pub required: Vec<TestedBackend>,
}

impl TestsSummary {
    /// No test failed, and no backend that is required was left out.
    pub fn is_success(&self) -> bool {
        self.outcomes
            .iter()
            .all(|(backend, outcome)| match outcome {
                Outcome::Passed { .. } => true,
                Outcome::Failed { .. } => false,
                Outcome::NotAsked | Outcome::Missing { .. } => !self.required.contains(backend),
            })
    }

    fn requirement(&self, backend: TestedBackend) -> &'static str {
        if self.required.contains(&backend) {
            "REQUIRED, "
        } else {
            ""
        }
    }
}

impl fmt::Display for TestsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tests by backend:")?;
        for (backend, outcome) in &self.outcomes {
            write!(f, "  {:<6} ", backend.name())?;
            match outcome {
                Outcome::Passed { device, elapsed } => {
                    writeln!(f, "passed   {:>4} s  on {device}", elapsed.as_secs())?;
                }
                Outcome::Failed { device, elapsed } => {
                    writeln!(f, "FAILED   {:>4} s  on {device}", elapsed.as_secs())?;
                }
                Outcome::NotAsked => {
                    writeln!(
                        f,
                        "not run  {}left out by --only",
                        self.requirement(*backend)
                    )?;
                }
                Outcome::Missing { reason, remedy } => {
                    let requirement = self.requirement(*backend);
                    writeln!(f, "not run  {requirement}{reason}; {remedy}")?;
                }
            }
        }
        write!(
            f,
            "  cuda, metal, vulkan: not run, they have no tests of their own here (docs/backends.md)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(device: &str) -> Outcome {
        Outcome::Passed {
            device: device.to_owned(),
            elapsed: Duration::from_millis(61_700),
        }
    }

    fn missing() -> Outcome {
        Outcome::Missing {
            reason: "there is no Vulkan driver".to_owned(),
            remedy: "install one".to_owned(),
        }
    }

    #[test]
    fn it_names_devices_and_remedies() {
        let summary = TestsSummary {
            outcomes: vec![
                (TestedBackend::Flex, passed("the CPU")),
                (TestedBackend::Wgpu, missing()),
            ],
            required: vec![TestedBackend::Wgpu],
        };
        assert_eq!(
            summary.to_string(),
            "tests by backend:\n  \
               flex   passed     61 s  on the CPU\n  \
               wgpu   not run  REQUIRED, there is no Vulkan driver; install one\n  \
               cuda, metal, vulkan: not run, they have no tests of their own here (docs/backends.md)"
        );
        assert!(!summary.is_success());
    }

    #[test]
    fn a_missing_backend_fails_only_where_it_is_required() {
        let mut summary = TestsSummary {
            outcomes: vec![
                (TestedBackend::Flex, passed("the CPU")),
                (TestedBackend::Wgpu, missing()),
            ],
            required: vec![TestedBackend::Flex],
        };
        assert!(summary.is_success());
        summary.outcomes[1].1 = Outcome::Failed {
            device: "llvmpipe".to_owned(),
            elapsed: Duration::ZERO,
        };
        assert!(!summary.is_success());
    }

    #[test]
    fn a_required_backend_cannot_be_left_out() {
        let summary = TestsSummary {
            outcomes: vec![(TestedBackend::Flex, Outcome::NotAsked)],
            required: vec![TestedBackend::Flex],
        };
        assert!(!summary.is_success());
    }
}
