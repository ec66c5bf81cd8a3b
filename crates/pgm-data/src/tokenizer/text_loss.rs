use std::fmt;

use serde::{Deserialize, Serialize};

/// Distinct characters that are named.
const MAX_EXAMPLES: usize = 8;

/// Characters of a text that its tokens do not have.
///
/// White space is lost only where a model without an unknown token drops it: tokenizers of BERT's kind take it for the end
/// of a word, whatever it is. What a normaliser takes away (accents, control characters) does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextLoss {
    /// Characters that no token stands for.
    pub n_dropped: u64,
    /// Characters that became the unknown token.
    pub n_unknown: u64,
    /// Characters that are in the tokens and not in the text.
    pub n_invented: u64,
    /// White space that became the unknown token; no loss of text, but a token that does not say which.
    #[serde(default)]
    pub n_white_space: u64,
    /// Some of them, each once.
    pub examples: String,
}

impl TextLoss {
    /// Whether all of the text is there, and nothing else.
    pub fn is_none(&self) -> bool {
        self.n_dropped + self.n_unknown + self.n_invented == 0
    }

    pub(crate) fn drop_char(&mut self, character: char) {
        self.n_dropped += 1;
        self.name(character);
    }

    pub(crate) fn forget_char(&mut self, character: char) {
        self.n_unknown += 1;
        self.name(character);
    }

    pub(crate) fn invent_chars(&mut self, character: char, n: u64) {
        self.n_invented += n;
        self.name(character);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.n_dropped += other.n_dropped;
        self.n_unknown += other.n_unknown;
        self.n_invented += other.n_invented;
        self.n_white_space += other.n_white_space;
        other
            .examples
            .chars()
            .for_each(|character| self.name(character));
    }

    fn name(&mut self, character: char) {
        if !self.examples.contains(character) && self.examples.chars().count() < MAX_EXAMPLES {
            self.examples.push(character);
        }
    }
}

/// The counts and the characters: ``2 characters dropped and 1 made the unknown token (`é`, `日`)``.
impl fmt::Display for TextLoss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.n_dropped, "dropped"),
            (self.n_unknown, "made the unknown token"),
            (self.n_invented, "invented"),
        ];
        let mut characters = " characters";
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(count, what)| format!("{count}{} {what}", std::mem::take(&mut characters)))
            .collect();
        let examples = self.examples.chars();
        let examples: Vec<String> = examples
            .map(|c| format!("`{}`", c.escape_debug()))
            .collect();
        write!(
            formatter,
            "{} ({})",
            counts.join(" and "),
            examples.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_add_up_and_name_each_character_once() {
        let mut loss = TextLoss::default();
        assert!(loss.is_none());
        "ééa".chars().for_each(|c| loss.drop_char(c));
        let mut other = TextLoss::default();
        "é日\n".chars().for_each(|c| other.forget_char(c));
        loss.add(&other);
        let words = loss.to_string();
        assert_eq!(
            words,
            "3 characters dropped and 3 made the unknown token (`é`, `a`, `日`, `\\n`)"
        );
        let mut invented = TextLoss::default();
        invented.invent_chars('Ġ', 4);
        assert_eq!(invented.to_string(), "4 characters invented (`Ġ`)");
        "abcdefghij".chars().for_each(|c| invented.drop_char(c));
        assert_eq!(invented.examples, "Ġabcdefg");
    }
}
