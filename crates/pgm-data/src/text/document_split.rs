use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How a `.txt` file is cut into documents.
///
/// In a configuration file: `"file"`, `{ blank-lines = 2 }` or `{ separator = "<|endoftext|>" }`. Documents
/// that hold nothing but white space are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentSplit {
    /// A file is one document, taken as it is.
    #[default]
    File,
    /// At least so many blank lines in a row part two documents.
    BlankLines(NonZeroUsize),
    /// This text parts two documents; line ends around it belong to neither.
    Separator(String),
}

impl DocumentSplit {
    /// Checks that the split can separate something.
    ///
    /// # Errors
    /// When a separator is empty.
    pub fn validate(&self) -> Result<(), DataError> {
        match self {
            Self::Separator(separator) if separator.is_empty() => {
                Err(DataError::InvalidDocumentSplit {
                    got: "separator = \"\"".to_owned(),
                    wanted: "a separator of at least one character, or `file`",
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank_lines(n: usize) -> DocumentSplit {
        DocumentSplit::BlankLines(NonZeroUsize::new(n).unwrap())
    }

    #[test]
    fn an_empty_separator_is_refused() {
        assert!(DocumentSplit::Separator(String::new()).validate().is_err());
        assert!(blank_lines(1).validate().is_ok());
    }

    #[test]
    fn splits_are_read_from_toml() {
        #[derive(Deserialize)]
        struct Config {
            split: DocumentSplit,
        }
        let read = |toml: &str| toml::from_str::<Config>(toml).map(|config| config.split);
        assert_eq!(read("split = 'file'").unwrap(), DocumentSplit::File);
        assert_eq!(read("split = { blank-lines = 2 }").unwrap(), blank_lines(2));
        assert_eq!(
            read("split = { separator = '%' }").unwrap(),
            DocumentSplit::Separator("%".to_owned())
        );
        assert!(read("split = { blank-lines = 0 }").is_err());
        assert!(read("split = { blanklines = 1 }").is_err());
    }
}
