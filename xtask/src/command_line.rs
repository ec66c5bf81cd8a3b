//! A command as data, so that plans can be compared in tests before anything runs.

use std::ffi::OsString;
use std::fmt;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};

use crate::workspace;

/// A call of cargo in the root of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    args: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
}

impl CommandLine {
    /// `cargo` with these arguments.
    pub fn cargo<I>(args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Self {
            args: args.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    /// The same with one more environment variable.
    pub fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// The command, ready to be started.
    pub fn command(&self) -> Command {
        // Cargo names itself when it starts this program: the same toolchain goes on.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(&self.args)
            .envs(self.environment.iter().copied())
            .current_dir(workspace::root());
        command
    }

    /// Shows the command on stderr, runs it and waits; its output goes where ours goes.
    ///
    /// # Errors
    /// If it cannot be started. That it fails is an `Ok` with its status.
    pub fn run(&self) -> Result<ExitStatus> {
        eprintln!("$ {self}");
        self.command()
            .status()
            .with_context(|| format!("`{self}` could not be started"))
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "cargo")?;
        for arg in &self.args {
            write!(f, " {}", quoted(&arg.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// The word as a shell wants it.
fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(char::is_whitespace) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_typed_in_a_shell() {
        let command =
            CommandLine::cargo(["doc", "--no-deps"]).with_variable("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            command.to_string(),
            "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps"
        );
    }
}
