use serde::{Deserialize, Serialize};

/// Which likelihood answers are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LikelihoodKind {
    /// Of the answer given its context: [`ConditionalLikelihood`](crate::ConditionalLikelihood).
    #[default]
    Conditional,
    /// Of context, answer and EOS together, by the token: [`PublishedLikelihood`](crate::PublishedLikelihood).
    Published,
}

impl LikelihoodKind {
    /// Its name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conditional => "conditional",
            Self::Published => "published",
        }
    }
}
