//! Ctrl-C.

use anyhow::{Context, Result};
use burn_train::Interrupter;

use crate::log_output;

/// The first Ctrl-C (or SIGTERM) stops the work after the current step and saves; a second one
/// ends the process at once.
pub fn graceful() -> Result<Interrupter> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    ctrlc::set_handler(move || {
        if handle.should_stop() {
            std::process::exit(130);
        }
        log_output::line(
            "\nstopping after this step, then saving; press Ctrl-C again to stop at once",
        );
        handle.stop(Some("interrupted"));
    })
    .context("Ctrl-C cannot be handled")?;
    Ok(interrupter)
}
