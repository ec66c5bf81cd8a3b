use serde::{Deserialize, Serialize};

/// Which program runs an experiment, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from, with `-dirty` behind it if files differed.
    pub commit: String,
    /// The device.
    pub device: String,
    /// When it was started, as RFC 3339.
    pub started: String,
}

/// A line of `history.jsonl`.
#[derive(Serialize)]
struct Start<'a> {
    from_step: usize,
    #[serde(flatten)]
    provenance: &'a Provenance,
}

impl Provenance {
    /// A start after `from_step` optimizer steps, as a line of `history.jsonl`.
    pub(crate) fn line(&self, from_step: usize) -> String {
        let start = Start {
            from_step,
            provenance: self,
        };
        serde_json::to_string(&start).expect("a start has a JSON form")
    }
}
