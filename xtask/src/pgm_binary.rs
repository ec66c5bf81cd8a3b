//! Building the command `pgm` and becoming it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::pgm_args::PgmBuild;

/// The executable file `pgm`.
#[derive(Debug)]
pub struct PgmBinary {
    path: PathBuf,
}

/// Builds `pgm`; cargo's progress and messages go to stderr.
///
/// # Errors
/// If the build fails.
pub fn build(build: &PgmBuild) -> Result<PgmBinary> {
    let command_line = build.command_line();
    eprintln!(
        "building `pgm` for the backend {}, profile {} (the first time takes some minutes): {command_line}",
        build.backend.name(),
        build.profile.name(),
    );
    // Cargo's own messages name the executable: no guess about the target folder is needed.
    let mut child = command_line
        .command()
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{command_line}` could not be started"))?;
    let messages = child.stdout.take().expect("stdout is piped");
    let mut path = None;
    for line in BufReader::new(messages).lines() {
        let line = line.with_context(|| format!("reading the output of `{command_line}`"))?;
        path = executable_in(&line).or(path);
    }
    if !child.wait()?.success() {
        bail!("`{command_line}` failed, see above");
    }
    let path = path.with_context(|| format!("`{command_line}` has built no program `pgm`"))?;
    Ok(PgmBinary { path })
}

impl PgmBinary {
    /// Runs `pgm` with these arguments in the current folder, with our streams; gives its exit status.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, args: &[OsString]) -> Result<ExitCode> {
        let mut pgm = Command::new(&self.path);
        pgm.args(args);
        become_command(pgm)
            .with_context(|| format!("`{}` could not be started", self.path.display()))
    }
}

/// The path of `pgm`, if a line of cargo's JSON output is about it.
fn executable_in(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_pgm = message["reason"] == "compiler-artifact" && message["target"]["name"] == "pgm";
    let path = message["executable"].as_str()?;
    is_pgm.then(|| path.into())
}

/// Replaces this process: signals reach `pgm` alone, which saves before it ends.
#[cfg(unix)]
fn become_command(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

/// Starts the command and waits; Ctrl-C reaches both, and only the command may act on it.
#[cfg(not(unix))]
fn become_command(mut command: Command) -> Result<ExitCode> {
    ctrlc::set_handler(|| {})?;
    let code = command.status()?.code().unwrap_or(1);
    std::process::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let lines = [
            r#"{"reason":"compiler-artifact","target":{"name":"clap"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"pgm"},"executable":"/t/debug/pgm"}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "not JSON",
        ];
        let found: Vec<PathBuf> = lines
            .iter()
            .filter_map(|line| executable_in(line))
            .collect();
        assert_eq!(found, [PathBuf::from("/t/debug/pgm")]);
    }
}
