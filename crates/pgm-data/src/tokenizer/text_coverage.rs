use std::collections::{BTreeMap, HashMap};

use crate::{DataError, Tokenizer};

/// Counts the characters of a text that a tokenizer has no token of its own for: text in an alphabet that it was not
/// learned from.
#[derive(Debug)]
pub struct TextCoverage<'a> {
    tokenizer: &'a Tokenizer,
    /// Tokens of a character that every tokenizer knows, such as a mark of the beginning of a word.
    n_usual: usize,
    /// What stands for unknown characters, in a tokenizer that has such a token.
    unknown_id: Option<u32>,
    known: HashMap<char, Fate>,
    n_characters: usize,
    lost: BTreeMap<char, usize>,
    in_bytes: BTreeMap<char, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Token,
    Lost,
    InBytes,
}

/// A letter that no tokenizer in use has a token for.
const HIEROGLYPH: &str = "\u{13000}";

impl<'a> TextCoverage<'a> {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// When the tokenizer cannot encode a letter.
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self, DataError> {
        let n_usual = tokenizer.encode("e")?.len().max(1);
        let unknown = tokenizer.encode(HIEROGLYPH)?;
        let unknown_id = unknown.last().filter(|_| unknown.len() <= n_usual);
        Ok(Self {
            tokenizer,
            n_usual,
            unknown_id: unknown_id.copied(),
            known: HashMap::new(),
            n_characters: 0,
            lost: BTreeMap::new(),
            in_bytes: BTreeMap::new(),
        })
    }

    /// Counts a text; white space does not count.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn add(&mut self, text: &str) -> Result<(), DataError> {
        for character in text.chars().filter(|character| !character.is_whitespace()) {
            let fate = match self.known.get(&character) {
                Some(&fate) => fate,
                None => {
                    let fate = self.fate(character)?;
                    self.known.insert(character, fate);
                    fate
                }
            };
            self.n_characters += 1;
            match fate {
                Fate::Token => {}
                Fate::Lost => *self.lost.entry(character).or_default() += 1,
                Fate::InBytes => *self.in_bytes.entry(character).or_default() += 1,
            }
        }
        Ok(())
    }

    fn fate(&self, character: char) -> Result<Fate, DataError> {
        let tokens = self.tokenizer.encode(character.encode_utf8(&mut [0; 4]))?;
        let is_unknown = self.unknown_id.is_some_and(|id| tokens.contains(&id));
        Ok(if tokens.is_empty() || is_unknown {
            Fate::Lost
        } else if tokens.len() > self.n_usual {
            Fate::InBytes
        } else {
            Fate::Token
        })
    }

    /// Characters so far, white space left out.
    pub fn n_characters(&self) -> usize {
        self.n_characters
    }

    /// Characters that the tokenizer drops or calls unknown, and how often they occur.
    pub fn lost(&self) -> &BTreeMap<char, usize> {
        &self.lost
    }

    /// Characters that are spelled out in several tokens, their bytes mostly, and how often they occur.
    pub fn in_bytes(&self) -> &BTreeMap<char, usize> {
        &self.in_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BpeTables, WordSplit};

    fn counts(tokenizer: &Tokenizer, text: &str) -> (usize, String, String) {
        let mut coverage = TextCoverage::new(tokenizer).unwrap();
        coverage.add(text).unwrap();
        let characters = |map: &BTreeMap<char, usize>| {
            map.iter()
                .flat_map(|(&character, &n)| std::iter::repeat_n(character, n))
                .collect()
        };
        (
            coverage.n_characters(),
            characters(coverage.lost()),
            characters(coverage.in_bytes()),
        )
    }

    #[test]
    fn characters_that_were_not_learned_are_spelled_in_bytes() {
        let text = "Señor Núñez, mañana. ".repeat(20);
        let tokenizer = Tokenizer::train_bpe([text].into_iter(), 300).unwrap();
        // `ñ` was merged into a token; `я` has two bytes, `日` three, and none of them stood in the text.
        let (n, lost, in_bytes) = counts(&tokenizer, "mañana я 日日");
        assert_eq!((n, lost.as_str(), in_bytes.as_str()), (9, "", "я日日"));
        assert_eq!(
            counts(&tokenizer, "plain ASCII, all of it: ~\t\n").2,
            String::new()
        );
    }

    #[test]
    fn characters_without_any_token_are_lost() {
        // Every byte below 127 that is a letter or a mark; what is not in the vocabulary is dropped.
        let tables = BpeTables {
            tokens: ["<s>", "</s>"]
                .map(str::to_owned)
                .into_iter()
                .chain(('!'..='~').map(String::from))
                .collect(),
            merges: Vec::new(),
            special: vec![0, 1],
            words: WordSplit::Gpt2,
        };
        let tokenizer = Tokenizer::from_bpe_tables("small", &tables).unwrap();
        let (n, lost, in_bytes) = counts(&tokenizer, "abé日");
        assert_eq!((n, lost.as_str(), in_bytes.as_str()), (4, "é日", ""));
    }

    #[test]
    fn gpt2_knows_the_letters_of_europe() {
        let (n, lost, in_bytes) = counts(&Tokenizer::gpt2(), "Ünïcödé — “quotes” я 日");
        assert_eq!(n, 18);
        assert_eq!(lost, "");
        assert!(!in_bytes.contains(['é', 'ö']), "{in_bytes}");
    }
}
