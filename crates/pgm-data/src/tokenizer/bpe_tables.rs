use tokenizers::SplitDelimiterBehavior;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use super::byte_level::{byte_level_tokenizer, words};
use crate::{DataError, DeclaredToken, Tokenizer};

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
    /// Llama 3's pattern; a word that is a token is not taken apart.
    Llama3,
}

/// # Reference
/// `tokenizer.json` of Llama 3.
const LLAMA3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Tokenizer {
    /// A tokenizer of the given tables.
    ///
    /// # Errors
    /// When a merge has not two parts that are tokens, or there are no tokens for beginning and end.
    pub fn from_bpe_tables(name: &str, tables: &BpeTables) -> Result<Self, DataError> {
        Self::from_bpe_tables_with(name, tables, &[])
    }

    /// The same, with what is said of special tokens elsewhere, the most reliable first.
    ///
    /// # Errors
    /// As [`Self::from_bpe_tables`], and when a setting names a token that does not exist.
    pub fn from_bpe_tables_with(
        name: &str,
        tables: &BpeTables,
        declared: &[DeclaredToken],
    ) -> Result<Self, DataError> {
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
            .ignore_merges(tables.words == WordSplit::Llama3)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let mut inner = byte_level_tokenizer(model);
        let parts: Vec<PreTokenizerWrapper> = match tables.words {
            WordSplit::Gpt2 => vec![words().into()],
            WordSplit::SingleDigits => vec![Digits::new(true).into(), words().into()],
            WordSplit::Llama3 => {
                let pattern = SplitPattern::Regex(LLAMA3_WORDS.to_owned());
                let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
                let split = split.map_err(|error| failed(error.to_string()))?;
                vec![split.into(), ByteLevel::new(false, true, false).into()]
            }
        };
        if tables.words != WordSplit::Gpt2 {
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
        Self::new(inner, name.to_owned(), declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenName, TokenRole, TokenSource};

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
        // Llama 3's numbers are words of up to three digits, without the space.
        assert_eq!(encode(WordSplit::Llama3, text), [7, 5, 0, 1, 2]);
    }

    #[test]
    fn a_header_says_which_tokens_are_special() {
        let mut tables = tables(WordSplit::Gpt2);
        tables.tokens.push("<go>".to_owned());
        tables.special.push(8);
        let declared = |role, id| DeclaredToken {
            role,
            name: TokenName::Id(id),
            source: TokenSource::GgufHeader,
        };
        let read = |declared: &[DeclaredToken]| {
            let read = Tokenizer::from_bpe_tables_with("tables", &tables, declared).unwrap();
            (read.bos_id(), read.eos_id())
        };
        assert_eq!(read(&[]), (0, 0));
        assert_eq!(read(&[declared(TokenRole::Bos, 8)]), (8, 0));
        // 4 is a letter.
        assert_eq!(read(&[declared(TokenRole::Eos, 4)]), (0, 0));
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
