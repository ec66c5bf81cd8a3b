use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

use crate::byte_level::{byte_level_tokenizer, words};
use crate::{DataError, Tokenizer};

/// The tables of a byte-level BPE, as GGUF files hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpeTables {
    /// Tokens in the order of their ids, spelled in GPT-2's byte alphabet.
    pub tokens: Vec<String>,
    /// The two parts of each merge, with a space between them, in the order of their ranks.
    pub merges: Vec<String>,
    /// Ids of the tokens that stand for no text.
    pub special: Vec<u32>,
    /// How a text is cut into words.
    pub words: WordSplit,
}

/// How a byte-level BPE cuts a text into words, within which it merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordSplit {
    /// GPT-2's pattern.
    Gpt2,
    /// Each digit by itself, then GPT-2's pattern: SmolLM's.
    SingleDigits,
}

impl Tokenizer {
    /// A tokenizer of the given tables.
    ///
    /// # Errors
    /// When a merge has not two parts that are tokens, or there are no tokens for beginning and end.
    pub fn from_bpe_tables(name: &str, tables: &BpeTables) -> Result<Self, DataError> {
        let failed = |reason: String| DataError::Tokenizer {
            name: name.to_owned(),
            action: "be read",
            reason: reason.into(),
        };
        let merges = tables.merges.iter().map(|merge| {
            let parts = merge.split_once(' ');
            let (left, right) =
                parts.ok_or_else(|| failed(format!("merge `{merge}` has one part")))?;
            Ok((left.to_owned(), right.to_owned()))
        });
        let merges: Merges = merges.collect::<Result<_, DataError>>()?;
        let vocab: Vocab = tables.tokens.iter().cloned().zip(0_u32..).collect();
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let mut inner = byte_level_tokenizer(model);
        if tables.words == WordSplit::SingleDigits {
            let parts: Vec<PreTokenizerWrapper> = vec![Digits::new(true).into(), words().into()];
            inner.with_pre_tokenizer(Some(Sequence::new(parts)));
        }
        let special = tables.special.iter().map(|&id| {
            let token = tables.tokens.get(id as usize);
            let token =
                token.ok_or_else(|| failed(format!("special token {id} does not exist")))?;
            Ok(tokenizers::AddedToken::from(token.clone(), true))
        });
        let special: Vec<_> = special.collect::<Result<_, DataError>>()?;
        inner
            .add_special_tokens(special)
            .map_err(|error| failed(error.to_string()))?;
        Self::new(inner, name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(words: WordSplit) -> BpeTables {
        let tokens = ["<|endoftext|>", "Ġ", "1", "2", "a", "12", "Ġ1", "Ġa"];
        BpeTables {
            tokens: tokens.map(str::to_owned).to_vec(),
            merges: ["1 2", "Ġ 1", "Ġ a"].map(str::to_owned).to_vec(),
            special: vec![0],
            words,
        }
    }

    #[test]
    fn digits_are_merged_only_where_words_hold_them() {
        let encode = |words, text| {
            let tokenizer = Tokenizer::from_bpe_tables("tables", &tables(words)).unwrap();
            assert_eq!(
                tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(),
                text
            );
            tokenizer.encode(text).unwrap()
        };
        let text = " a12<|endoftext|> 1";
        // GPT-2's words are " a", "12" and " 1"; single digits also leave the space before one alone.
        assert_eq!(encode(WordSplit::Gpt2, text), [7, 5, 0, 6]);
        assert_eq!(encode(WordSplit::SingleDigits, text), [7, 2, 3, 0, 1, 2]);
    }

    #[test]
    fn wrong_tables_are_named() {
        let refused = |tables: BpeTables| {
            let error = Tokenizer::from_bpe_tables("t", &tables).unwrap_err();
            error.to_string()
        };
        let mut wrong = tables(WordSplit::Gpt2);
        wrong.merges.push("ab".into());
        assert_eq!(
            refused(wrong),
            "tokenizer `t` cannot be read: merge `ab` has one part"
        );
        let mut wrong = tables(WordSplit::Gpt2);
        wrong.special = vec![99];
        assert!(refused(wrong).contains("special token 99 does not exist"));
        let mut wrong = tables(WordSplit::Gpt2);
        wrong.merges.push("x y".into());
        assert!(refused(wrong).starts_with("tokenizer `t` cannot be read"));
    }
}
