use serde::{Deserialize, Serialize};

use crate::DataError;

/// What becomes of a line of a `.jsonl` file that is no document: no JSON, without the field, or no text in it.
///
/// In a configuration file: `"refuse"` or `"skip"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadLines {
    /// The first one is an error.
    #[default]
    Refuse,
    /// They are left out and counted.
    Skip,
}

impl BadLines {
    /// Whether this is what happens unless said otherwise.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Lines that were left out.
#[derive(Debug, Default)]
pub(crate) struct SkippedLines {
    /// How many.
    pub(crate) n_lines: usize,
    /// What was wrong with the first ones.
    pub(crate) first: Vec<DataError>,
}

impl SkippedLines {
    /// How many are described.
    const N_DESCRIBED: usize = 3;

    pub(crate) fn push(&mut self, error: DataError) {
        self.n_lines += 1;
        if self.first.len() < Self::N_DESCRIBED {
            self.first.push(error);
        }
    }

    /// Adds those of another file.
    pub(crate) fn append(&mut self, other: Self) {
        self.n_lines += other.n_lines;
        let n_free = Self::N_DESCRIBED - self.first.len();
        self.first.extend(other.first.into_iter().take(n_free));
    }

    /// Logs how many there are, and where the first ones stand.
    pub(crate) fn warn(&self) {
        if self.n_lines > 0 {
            let first: Vec<String> = self.first.iter().map(ToString::to_string).collect();
            tracing::warn!(
                n_lines = self.n_lines,
                "lines that are no documents are left out, first of all: {}",
                first.join("; ")
            );
        }
    }
}
