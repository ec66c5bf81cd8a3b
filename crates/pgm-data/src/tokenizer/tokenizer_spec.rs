use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{DataError, SpecialTokenChoice, Tokenizer};

/// Which tokenizer a run uses, as one string in a configuration file.
///
/// `gpt2` is GPT-2's own, `bpe-1024` a byte-level BPE of 1024 tokens that is learned from the training text,
/// and anything that ends in `.json` the path of a `tokenizer.json`.
///
/// ```
/// use pgm_data::TokenizerSpec;
///
/// let spec: TokenizerSpec = "bpe-1024".parse()?;
/// assert_eq!(spec, TokenizerSpec::Bpe { vocab_size: 1024 });
/// assert_eq!(spec.to_string(), "bpe-1024");
/// # Ok::<(), pgm_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TokenizerSpec {
    /// GPT-2's tokenizer of 50257 tokens.
    Gpt2,
    /// A byte-level BPE, learned from the training text.
    Bpe {
        /// Tokens in the vocabulary, the 256 bytes and `<|endoftext|>` included.
        vocab_size: usize,
    },
    /// A `tokenizer.json` of the `tokenizers` library.
    File(PathBuf),
}

impl TokenizerSpec {
    /// The smallest vocabulary of a byte-level BPE: 256 bytes and one special token.
    pub const MIN_VOCAB_SIZE: usize = 257;
    /// The largest vocabulary that can be learned.
    pub const MAX_VOCAB_SIZE: usize = 1 << 20;

    /// A byte-level BPE of `vocab_size` tokens.
    ///
    /// # Errors
    /// When the size is out of range.
    pub fn bpe(vocab_size: usize) -> Result<Self, DataError> {
        let spec = Self::Bpe { vocab_size };
        spec.validate()?;
        Ok(spec)
    }

    /// Checks the numbers; the file of a [`TokenizerSpec::File`] is looked at only when it is read.
    ///
    /// # Errors
    /// When a vocabulary size is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        match *self {
            Self::Bpe { vocab_size }
                if !(Self::MIN_VOCAB_SIZE..=Self::MAX_VOCAB_SIZE).contains(&vocab_size) =>
            {
                Err(DataError::InvalidVocabSize {
                    got: vocab_size,
                    minimum: Self::MIN_VOCAB_SIZE,
                    maximum: Self::MAX_VOCAB_SIZE,
                })
            }
            _ => Ok(()),
        }
    }
}

impl TokenizerSpec {
    /// The tokenizer, with special tokens that are chosen; none where it has yet to be learned.
    ///
    /// # Errors
    /// When its file cannot be read, or nothing tells which token ends a text.
    pub fn open(&self, choice: &SpecialTokenChoice) -> Result<Option<Tokenizer>, DataError> {
        Ok(match self {
            Self::Gpt2 => Some(Tokenizer::gpt2().choosing(choice)?),
            Self::File(path) => Some(Tokenizer::from_file_choosing(path, choice)?),
            Self::Bpe { .. } => None,
        })
    }
}

impl FromStr for TokenizerSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let spec = if text == "gpt2" {
            Self::Gpt2
        } else if text.to_ascii_lowercase().ends_with(".json") {
            Self::File(PathBuf::from(text))
        } else {
            text.strip_prefix("bpe-")
                .and_then(|size| size.parse().ok())
                .map(|vocab_size| Self::Bpe { vocab_size })
                .ok_or_else(|| DataError::UnknownTokenizer {
                    got: text.to_owned(),
                })?
        };
        spec.validate()?;
        Ok(spec)
    }
}

impl TryFrom<String> for TokenizerSpec {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<TokenizerSpec> for String {
    fn from(spec: TokenizerSpec) -> Self {
        spec.to_string()
    }
}

impl fmt::Display for TokenizerSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpt2 => formatter.write_str("gpt2"),
            Self::Bpe { vocab_size } => write!(formatter, "bpe-{vocab_size}"),
            Self::File(path) => write!(formatter, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        tokenizer: TokenizerSpec,
    }

    #[test]
    fn specs_survive_toml() {
        for text in ["gpt2", "bpe-1024", "some/tokenizer.json", "T.JSON"] {
            let toml = format!("tokenizer = \"{text}\"\n");
            let config: Config = toml::from_str(&toml).unwrap();
            assert_eq!(config.tokenizer.to_string(), text);
            assert_eq!(toml::to_string(&config).unwrap(), toml);
        }
    }

    #[test]
    fn bad_specs_say_what_is_wanted() {
        for text in ["", "gpt-2", "bpe-", "bpe-4k"] {
            let error = text.parse::<TokenizerSpec>().unwrap_err().to_string();
            assert!(error.contains("bpe-1024"), "{error}");
        }
        let error = "bpe-256".parse::<TokenizerSpec>().unwrap_err().to_string();
        assert!(error.contains("257"), "{error}");
        let error = toml::from_str::<Config>("tokenizer = \"bert\"").unwrap_err();
        assert!(error.to_string().contains("`bert` names no tokenizer"));
    }
}
