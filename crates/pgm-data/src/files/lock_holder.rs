use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// How this process was introduced.
static THIS_PROCESS: OnceLock<LockHolder> = OnceLock::new();

/// Longest command that is noted, in characters.
const LONGEST_COMMAND: usize = 400;

/// A process that has a [`FileLock`](crate::FileLock), as others are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LockHolder {
    /// Its id on its host; 0 if it is not known.
    pub process: u32,
    /// The host it runs on.
    pub host: String,
    /// What it was started with.
    pub command: String,
    /// When it was started, as RFC 3339.
    pub started: String,
}

impl LockHolder {
    /// Says once how this process is to be noted in locks; without, they have its id alone. Of several calls the first
    /// one counts.
    pub fn introduce(host: String, command: &str, started: String) {
        let mut shortened: String = command.chars().take(LONGEST_COMMAND).collect();
        if shortened.len() < command.len() {
            shortened.push_str(" ...");
        }
        let holder = Self {
            process: std::process::id(),
            host,
            command: shortened,
            started,
        };
        let _ = THIS_PROCESS.set(holder);
    }

    /// This process.
    pub fn this_process() -> Self {
        let introduced = THIS_PROCESS.get().cloned();
        introduced.unwrap_or_else(|| Self {
            process: std::process::id(),
            ..Self::default()
        })
    }

    /// Whether it is this process.
    pub fn is_this_process(&self) -> bool {
        *self == Self::this_process()
    }

    pub(crate) fn is_known(&self) -> bool {
        self.process != 0
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if !self.is_known() {
            return write!(f, "another process");
        }
        write!(f, "process {}", self.process)?;
        if !self.host.is_empty() {
            write!(f, " on host `{}`", self.host)?;
        }
        match (self.command.is_empty(), self.started.is_empty()) {
            (true, true) => Ok(()),
            (false, true) => write!(f, " (`{}`)", self.command),
            (true, false) => write!(f, " (started {})", self.started),
            (false, false) => write!(f, " (`{}`, started {})", self.command, self.started),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_named_as_far_as_it_is_known() {
        let mut holder = LockHolder::default();
        assert_eq!(holder.to_string(), "another process");
        holder.process = 7;
        assert_eq!(holder.to_string(), "process 7");
        holder.host = "gpu-3".into();
        holder.command = "pgm train".into();
        holder.started = "2026-01-02T03:04:05Z".into();
        assert_eq!(
            holder.to_string(),
            "process 7 on host `gpu-3` (`pgm train`, started 2026-01-02T03:04:05Z)"
        );
    }
}
