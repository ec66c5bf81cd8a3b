use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A line of `metrics.jsonl` that a [`TrainingMethod`](crate::TrainingMethod) writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodRecord {
    /// What the line says: `kind` in it, neither `train` nor `validation`.
    pub kind: String,
    /// Optimizer steps done.
    pub step: usize,
    /// All of the line, a JSON object.
    json: String,
}

#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'a str,
    step: usize,
    #[serde(flatten)]
    values: &'a T,
}

#[derive(Deserialize)]
struct Head {
    kind: String,
    step: usize,
}

impl MethodRecord {
    /// The kinds that the trainer itself writes.
    const RESERVED: [&str; 2] = ["train", "validation"];

    /// A line with the fields of `values`, which follow `kind` and `step`.
    ///
    /// # Panics
    /// Panics if the trainer itself writes lines of this kind, or if `values` has no JSON form with named fields.
    pub fn new(kind: &str, step: usize, values: &impl Serialize) -> Self {
        assert!(!Self::RESERVED.contains(&kind), "`{kind}` is the trainer's");
        let line = Line { kind, step, values };
        Self {
            kind: kind.to_owned(),
            step,
            json: serde_json::to_string(&line).expect("values with named fields"),
        }
    }

    /// The fields of the line, `step` among them.
    ///
    /// # Errors
    /// When they are not those of `T`.
    pub fn values<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.json)
    }

    /// A line of a file, if it is one of a method.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let Head { kind, step } = serde_json::from_slice(line).ok()?;
        let json = std::str::from_utf8(line).ok()?.trim().to_owned();
        let is_reserved = Self::RESERVED.contains(&kind.as_str());
        (!is_reserved).then_some(Self { kind, step, json })
    }

    /// The line, without its end.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Values {
        zeta: usize,
        alpha: f64,
    }

    #[test]
    fn fields_keep_their_order_and_values() {
        let values = Values {
            zeta: 3,
            alpha: 0.1,
        };
        let record = MethodRecord::new("made", 7, &values);
        let line = r#"{"kind":"made","step":7,"zeta":3,"alpha":0.1}"#;
        assert_eq!(record.json(), line);
        let read = MethodRecord::parse(format!("{line}\n").as_bytes()).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.values::<Values>().unwrap(), values);
        assert!(MethodRecord::parse(br#"{"kind":"train","step":7}"#).is_none());
    }
}
