//! Ctrl-C.

use std::process::ExitCode;

use anyhow::{Context, Result};
use burn_train::Interrupter;

use crate::{format, log_output};

/// The exit code of a command that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// The first Ctrl-C (or SIGTERM) says `stopping` and stops the work where its results are kept; a second one ends the
/// process at once.
pub fn graceful(stopping: &'static str) -> Result<Interrupter> {
    handle(move || log_output::line(&format!("\n{stopping}; press Ctrl-C again to stop at once")))
}

/// The same without a word, for work that stops within a moment.
pub fn quiet() -> Result<Interrupter> {
    handle(|| {})
}

fn handle(on_first: impl Fn() + Send + 'static) -> Result<Interrupter> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    ctrlc::set_handler(move || {
        if handle.should_stop() {
            std::process::exit(INTERRUPTED.into());
        }
        on_first();
        handle.stop(Some("interrupted"));
    })
    .context("Ctrl-C cannot be handled")?;
    Ok(interrupter)
}

/// What interrupted work says that keeps nothing.
pub fn nothing_kept() -> ExitCode {
    eprintln!("interrupted");
    ExitCode::from(INTERRUPTED)
}

/// What an interrupted evaluation says in the end.
pub fn stopped(n_done: usize, n_wanted: usize, what: &str) -> ExitCode {
    eprintln!(
        "stopped after {} of {} {what}; the same command goes on",
        format::count(n_done),
        format::count(n_wanted)
    );
    ExitCode::from(INTERRUPTED)
}
