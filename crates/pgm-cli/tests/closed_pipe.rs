//! A reader that goes away ends the program, as `pgm info | head -1` does.
#![cfg(unix)]

use std::io::pipe;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

/// Nobody reads what is written, from the first byte on.
#[test]
fn a_closed_pipe_ends_commands_quietly() {
    for args in [
        &["info"][..],
        &["info", "--json"],
        &["--help"],
        &["convert", "--help"],
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_pgm"))
            .args(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("pgm starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        let signal = output.status.signal();
        assert_eq!(signal, Some(Signal::SIGPIPE as i32), "{args:?}: {stderr}");
    }
}
