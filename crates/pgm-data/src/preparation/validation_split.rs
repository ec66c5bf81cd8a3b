use std::fmt;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// Which part of the text is kept out of training.
///
/// In a configuration file: `{ fraction = 0.05 }` or `{ documents = 100 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidationSplit {
    /// The last part of each document, in `(0, 0.5]`, so that both sides share their styles; for few, long documents.
    ///
    /// The cut is at the end of a paragraph (before a blank line); where none ends nearby, of a line; else of a
    /// sentence (`.`, `!` or `?` before a space). A document in which no such place leaves between half and twice
    /// the fraction goes to training as a whole.
    Fraction(f64),
    /// The last so many documents; for many documents.
    Documents(usize),
}

impl ValidationSplit {
    /// Checks the range of the setting.
    ///
    /// # Errors
    /// When a fraction is not in `(0, 0.5]` or the number of documents is 0.
    pub fn validate(&self) -> Result<(), DataError> {
        match *self {
            Self::Fraction(fraction) if !(fraction > 0.0 && fraction <= 0.5) => {
                Err(self.invalid("is out of range", "use a fraction above 0 and up to 0.5"))
            }
            Self::Documents(0) => Err(self.invalid("keeps nothing", "use at least one document")),
            _ => Ok(()),
        }
    }

    /// Cuts document `index` of `n_documents` into its text for training and its text for validation.
    pub(crate) fn parts<'a>(
        &self,
        index: usize,
        n_documents: usize,
        text: &'a str,
    ) -> (Option<&'a str>, Option<&'a str>) {
        match *self {
            Self::Documents(n_last) if index + n_last >= n_documents => (None, Some(text)),
            Self::Documents(_) => (Some(text), None),
            Self::Fraction(fraction) => match cut(text, fraction) {
                Some((start, end)) => (Some(start), Some(end)),
                None => (Some(text), None),
            },
        }
    }

    /// The error for a split that does not work out.
    pub(crate) fn invalid(&self, problem: impl Into<String>, way_out: &'static str) -> DataError {
        DataError::InvalidValidationSplit {
            got: self.to_string(),
            problem: problem.into(),
            way_out,
        }
    }
}

impl fmt::Display for ValidationSplit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction(fraction) => write!(formatter, "fraction = {fraction}"),
            Self::Documents(n) => write!(formatter, "documents = {n}"),
        }
    }
}

fn cut(text: &str, fraction: f64) -> Option<(&str, &str)> {
    let n_bytes = text.len() as f64;
    let target = n_bytes * (1.0 - fraction);
    let allowed = n_bytes * (1.0 - 2.0 * fraction)..=n_bytes * (1.0 - 0.5 * fraction);
    let distance = |start: &str| (start.len() as f64 - target).abs();
    let nearest = |is_end: fn(&str, usize) -> bool| {
        text.match_indices(['\n', ' '])
            .map(|(index, _)| index)
            .filter(|&index| allowed.contains(&(index as f64)) && is_end(text, index))
            .map(|index| (text[..index].trim_end(), text[index..].trim_start()))
            .filter(|(start, end)| !start.is_empty() && !end.is_empty())
            .min_by(|(left, _), (right, _)| distance(left).total_cmp(&distance(right)))
    };
    nearest(ends_paragraph)
        .or_else(|| nearest(ends_line))
        .or_else(|| nearest(ends_sentence))
}

/// Whether the white space at `index` is a line feed that a blank line follows.
fn ends_paragraph(text: &str, index: usize) -> bool {
    ends_line(text, index)
        && text[index + 1..]
            .split_once('\n')
            .is_some_and(|(line, _)| line.trim().is_empty())
}

fn ends_line(text: &str, index: usize) -> bool {
    text[index..].starts_with('\n')
}

fn ends_sentence(text: &str, index: usize) -> bool {
    text[..index].ends_with(['.', '!', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_cuts_at_the_nearest_paragraph() {
        // Ten paragraphs of 12 bytes: the ideal cut of a fifth, byte 94, is next to byte 94 = 8 * 12 - 2.
        let text = "0123\n56789\n\n".repeat(10);
        let split = ValidationSplit::Fraction(0.2);
        let (train, validation) = split.parts(0, 1, &text);
        assert_eq!(train.unwrap(), &text[..94]);
        assert_eq!(validation.unwrap(), "0123\n56789\n\n".repeat(2));
    }

    #[test]
    fn lines_do_where_no_paragraph_ends_nearby() {
        let lines = "0123456789\n".repeat(10);
        let (train, validation) = ValidationSplit::Fraction(0.1).parts(0, 1, &lines);
        assert_eq!(train.unwrap(), lines[..98].trim_end());
        assert_eq!(validation.unwrap(), "0123456789\n");
    }

    #[test]
    fn sentences_do_where_a_document_is_one_line() {
        // Ten sentences of 11 bytes; the last two are a fifth.
        let line = "Thank you. ".repeat(10);
        let (train, validation) = ValidationSplit::Fraction(0.2).parts(0, 1, &line);
        assert_eq!(train.unwrap(), &line[..87]);
        assert_eq!(validation.unwrap(), "Thank you. ".repeat(2));
    }

    #[test]
    fn a_document_without_a_place_to_cut_is_training_text() {
        for text in [
            "one line only",
            "title\n\nthe rest of a text in one line",
            "",
        ] {
            let parts = ValidationSplit::Fraction(0.05).parts(0, 1, text);
            assert_eq!(parts, (Some(text), None));
        }
    }

    #[test]
    fn the_last_documents_are_validation_text() {
        let split = ValidationSplit::Documents(2);
        let sides: Vec<_> = (0..4).map(|i| split.parts(i, 4, "x").1.is_some()).collect();
        assert_eq!(sides, [false, false, true, true]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for split in [
            ValidationSplit::Fraction(0.0),
            ValidationSplit::Fraction(0.6),
            ValidationSplit::Fraction(f64::NAN),
            ValidationSplit::Documents(0),
        ] {
            assert!(split.validate().is_err(), "{split}");
        }
        assert!(ValidationSplit::Fraction(0.5).validate().is_ok());
    }
}
