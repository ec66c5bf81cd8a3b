use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How a text file is cut into documents.
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

    /// The documents of `text`, in order.
    pub fn documents<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut documents = match self {
            Self::File => vec![text],
            Self::BlankLines(n_blank) => at_blank_lines(text, n_blank.get()),
            Self::Separator(separator) => text
                .split(separator.as_str())
                .map(|document| document.trim_matches(['\n', '\r']))
                .collect(),
        };
        documents.retain(|document| !document.trim().is_empty());
        documents
    }
}

fn at_blank_lines(text: &str, n_blank: usize) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut start, mut end, mut blank_run, mut position) = (0, 0, 0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            blank_run += 1;
        } else {
            if blank_run >= n_blank {
                documents.push(&text[start..end]);
                start = position;
            }
            blank_run = 0;
            end = position + line.trim_end_matches(['\n', '\r']).len();
        }
        position += line.len();
    }
    documents.push(&text[start..end]);
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank_lines(n: usize) -> DocumentSplit {
        DocumentSplit::BlankLines(NonZeroUsize::new(n).unwrap())
    }

    #[test]
    fn blank_lines_part_documents_and_belong_to_none() {
        let text = "one\ntwo\n\nthree\n \n\r\nfour\r\nfive\n\n\n\n";
        assert_eq!(
            blank_lines(1).documents(text),
            ["one\ntwo", "three", "four\r\nfive"]
        );
        assert_eq!(
            blank_lines(2).documents(text),
            ["one\ntwo\n\nthree", "four\r\nfive"]
        );
    }

    #[test]
    fn files_are_kept_whole_and_empty_ones_dropped() {
        assert_eq!(DocumentSplit::File.documents("\n a \n"), ["\n a \n"]);
        assert!(DocumentSplit::File.documents(" \n\n").is_empty());
        assert!(blank_lines(1).documents("").is_empty());
    }

    #[test]
    fn a_separator_parts_documents() {
        let split = DocumentSplit::Separator("<|endoftext|>".to_owned());
        assert_eq!(
            split.documents("a\n<|endoftext|>\n<|endoftext|> b"),
            ["a", " b"]
        );
        assert!(DocumentSplit::Separator(String::new()).validate().is_err());
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
