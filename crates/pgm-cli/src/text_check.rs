//! Says when a model's tokenizer does not know the letters of a text.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use pgm_data::{TextCoverage, Tokenizer};

use crate::format;

/// Characters that are shown.
const SHOWN: usize = 6;
/// Share of the characters of a long text from which on it is said that they are spelled in bytes.
const NOTABLE: f64 = 0.01;

/// Warns where a text of the command line has characters without a token; refuses one of which nothing is left.
///
/// # Errors
/// When the tokenizer has no token for any character of the text.
pub fn check_line(what: &str, text: &str, tokenizer: &Tokenizer) -> Result<()> {
    let mut coverage = TextCoverage::new(tokenizer)?;
    coverage.add(text)?;
    let n_lost: usize = coverage.lost().values().sum();
    if n_lost > 0 && n_lost == coverage.n_characters() {
        bail!(
            "the model's tokenizer has no token for any character of {what} ({}); it was made for another alphabet",
            characters(coverage.lost())
        );
    }
    for warning in warnings(what, &coverage, 0.0) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Warns where a long text has many characters without a token of their own.
pub fn check_text(what: &str, coverage: &TextCoverage) {
    for warning in warnings(what, coverage, NOTABLE) {
        tracing::warn!("{warning}");
    }
}

fn warnings(what: &str, coverage: &TextCoverage, notable: f64) -> Vec<String> {
    let count = |map: &BTreeMap<char, usize>| map.values().sum::<usize>();
    let of_all = |n: usize| {
        format!(
            "{} of the {} characters of {what}",
            format::count(n),
            format::count(coverage.n_characters())
        )
    };
    let mut warnings = Vec::new();
    let n_lost = count(coverage.lost());
    if n_lost > 0 {
        warnings.push(format!(
            "{} are lost: the model's tokenizer has no token for {}",
            of_all(n_lost),
            characters(coverage.lost())
        ));
    }
    let n_in_bytes = count(coverage.in_bytes());
    if n_in_bytes > 0 && n_in_bytes as f64 >= notable * coverage.n_characters() as f64 {
        warnings.push(format!(
            "{} have no token of their own and are spelled in bytes: {}; a model that was not trained on such text \
             makes nothing of them",
            of_all(n_in_bytes),
            characters(coverage.in_bytes())
        ));
    }
    warnings
}

/// The first ones, by how often they occur.
fn characters(counts: &BTreeMap<char, usize>) -> String {
    let mut sorted: Vec<(&char, &usize)> = counts.iter().collect();
    sorted.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let shown: Vec<String> = sorted
        .iter()
        .take(SHOWN)
        .map(|(character, _)| format!("`{character}`"))
        .collect();
    let more = match sorted.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {} more", format::count(more)),
    };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let text = "Señor Núñez, mañana. ".repeat(20);
        Tokenizer::train_bpe([text].into_iter(), 300).unwrap()
    }

    fn warnings_of(text: &str, notable: f64) -> Vec<String> {
        let tokenizer = tokenizer();
        let mut coverage = TextCoverage::new(&tokenizer).unwrap();
        coverage.add(text).unwrap();
        warnings("the prompt", &coverage, notable)
    }

    #[test]
    fn letters_of_another_alphabet_are_counted_and_shown() {
        assert_eq!(warnings_of("mañana", 0.0), Vec::<String>::new());
        let warnings = warnings_of("Мне нравится ñ", 0.0);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        // М, н, е, н, р, а, в, и, т, с, я: 11 of 12, of which 10 differ; `н` is the one that stands twice.
        assert!(
            warnings[0].starts_with("11 of the 12 characters of the prompt have no token")
                && warnings[0].contains("bytes: `н`, ")
                && warnings[0].contains("and 4 more;"),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_rare_letter_in_a_long_text_is_nothing_to_speak_of() {
        let text = "plain text ".repeat(20) + "я";
        assert_eq!(warnings_of(&text, NOTABLE), Vec::<String>::new());
        assert_eq!(warnings_of(&text, 0.0).len(), 1);
    }
}
