//! Where log lines go: stderr, or aside while the dashboard has the screen.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Lines held back, while there is a dashboard.
static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Vec<u8>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds lines back until [`release`].
pub fn hold() {
    held().get_or_insert_default();
}

/// Shows what was held back.
pub fn release() {
    if let Some(lines) = held().take() {
        let _ = io::stderr().write_all(&lines);
    }
}

/// A line for the person at the terminal.
pub fn line(text: &str) {
    let mut output = LogOutput;
    let _ = writeln!(output, "{text}");
}

/// The writer of log lines.
#[derive(Debug, Clone, Copy)]
pub struct LogOutput;

impl Write for LogOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match held().as_mut() {
            Some(lines) => lines.write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogOutput {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}
