use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::special_tokens::{DeclaredToken, TokenRole, TokenSource};
use crate::DataError;

/// Special tokens that a setting names; what is left out is looked for in the tokenizer's files.
///
/// ```
/// use pgm_data::{SpecialTokenChoice, TokenName};
///
/// let choice: SpecialTokenChoice = "bos=<|begin_of_text|>,eos=128001".parse()?;
/// assert_eq!(choice.eos, Some(TokenName::Id(128_001)));
/// # Ok::<(), pgm_data::DataError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialTokenChoice {
    /// Begins a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos: Option<TokenName>,
    /// Ends a document and a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos: Option<TokenName>,
    /// Stands for a hidden token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<TokenName>,
    /// Fills rows up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<TokenName>,
}

/// A token of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenName {
    /// By its number.
    Id(u32),
    /// As the vocabulary spells it.
    Text(String),
}

impl SpecialTokenChoice {
    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn get_mut(&mut self, role: TokenRole) -> &mut Option<TokenName> {
        match role {
            TokenRole::Bos => &mut self.bos,
            TokenRole::Eos => &mut self.eos,
            TokenRole::Mask => &mut self.mask,
            TokenRole::Pad => &mut self.pad,
        }
    }

    /// What it says, in the form of what files say.
    pub fn declarations(&self) -> Vec<DeclaredToken> {
        let mut choice = self.clone();
        let declared = TokenRole::ALL.into_iter().filter_map(|role| {
            Some(DeclaredToken {
                role,
                name: choice.get_mut(role).take()?,
                source: TokenSource::Setting,
            })
        });
        declared.collect()
    }
}

/// `bos=TOKEN,eos=TOKEN`, also with `mask` and `pad`; a number is an id.
impl FromStr for SpecialTokenChoice {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let mut choice = Self::default();
        for part in text.split(',') {
            let invalid = || DataError::InvalidSpecialTokens {
                got: part.to_owned(),
            };
            let (key, token) = part.split_once('=').ok_or_else(invalid)?;
            let mut roles = TokenRole::ALL.into_iter();
            let role = roles.find(|role| role.key() == key.trim());
            let chosen = choice.get_mut(role.ok_or_else(invalid)?);
            if token.is_empty() || chosen.is_some() {
                return Err(invalid());
            }
            *chosen = Some(match token.parse() {
                Ok(id) => TokenName::Id(id),
                Err(_) => TokenName::Text(token.to_owned()),
            });
        }
        Ok(choice)
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(formatter, "{id}"),
            Self::Text(text) => write!(formatter, "`{text}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_from_text_and_from_toml() {
        let text: SpecialTokenChoice = "bos=<s>,pad=3".parse().unwrap();
        let toml: SpecialTokenChoice = toml::from_str("bos = \"<s>\"\npad = 3").unwrap();
        assert_eq!(text, toml);
        assert_eq!(text.bos, Some(TokenName::Text("<s>".to_owned())));
        assert!(!text.is_empty() && SpecialTokenChoice::default().is_empty());
        assert!(toml::from_str::<SpecialTokenChoice>("begin = 3").is_err());
    }

    #[test]
    fn misspelt_choices_are_refused() {
        for wrong in ["", "<s>", "begin=<s>", "bos=", "bos=1,bos=2", "bos=1,"] {
            let error = wrong.parse::<SpecialTokenChoice>().unwrap_err().to_string();
            assert!(error.contains("wanted `bos=TOKEN"), "{wrong}: {error}");
        }
    }
}
