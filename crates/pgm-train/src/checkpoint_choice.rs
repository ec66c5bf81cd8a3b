use std::fmt;
use std::str::FromStr;

/// Which checkpoint of a run to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointChoice {
    /// The newest one.
    #[default]
    Last,
    /// The one with the lowest validation loss.
    Best,
    /// The one after this many optimizer steps.
    Step(usize),
}

impl FromStr for CheckpointChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" => Ok(Self::Last),
            "best" => Ok(Self::Best),
            number => number
                .parse()
                .map(Self::Step)
                .map_err(|_| format!("`{number}` is neither `last`, `best` nor a step")),
        }
    }
}

impl fmt::Display for CheckpointChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => formatter.write_str("last"),
            Self::Best => formatter.write_str("best"),
            Self::Step(step) => write!(formatter, "{step}"),
        }
    }
}
