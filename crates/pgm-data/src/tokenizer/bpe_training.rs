use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
};

use super::byte_level::{byte_chars, byte_level_tokenizer, words};
use super::text_pieces::text_pieces;
use crate::{DataError, TokenizerSpec};

/// The library counts pairs in 32 bits and wraps silently; a pair occurs at most once a byte.
const MAX_TEXT_BYTES: usize = i32::MAX as usize;

/// Learns the merges of a byte-level BPE of at most `vocab_size` tokens, special token included.
pub(crate) fn train_byte_level_bpe(
    texts: impl Iterator<Item = String>,
    vocab_size: usize,
) -> Result<Tokenizer, DataError> {
    train_on_at_most(MAX_TEXT_BYTES, texts, vocab_size)
}

fn train_on_at_most(
    max_bytes: usize,
    texts: impl Iterator<Item = String>,
    vocab_size: usize,
) -> Result<Tokenizer, DataError> {
    let spec = TokenizerSpec::bpe(vocab_size)?;
    let failed = |source| DataError::Tokenizer {
        name: spec.to_string(),
        action: "be trained",
        reason: source,
    };
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(2)
        .initial_alphabet(byte_chars().into_iter().collect())
        .special_tokens(vec![AddedToken::from(crate::Tokenizer::END_OF_TEXT, true)])
        .build();
    let word_counts = count_words(&count_pieces(max_bytes, texts)?).map_err(failed)?;
    let word_counts = word_counts
        .into_iter()
        .map(|(word, count)| (word.into(), count))
        .collect();
    let mut model = BPE::default();
    let special_tokens = trainer.do_train(&word_counts, &mut model).map_err(failed)?;
    let mut tokenizer = byte_level_tokenizer(model);
    tokenizer
        .add_special_tokens(special_tokens)
        .map_err(failed)?;
    Ok(tokenizer)
}

/// How often each word occurs, with the white space before it. Far fewer are different than there are, so that little is
/// left to take apart.
fn count_pieces(
    max_bytes: usize,
    texts: impl Iterator<Item = String>,
) -> Result<HashMap<String, u64>, DataError> {
    let mut n_bytes = 0;
    let mut counts = HashMap::new();
    for text in texts {
        n_bytes += text.len();
        if n_bytes > max_bytes {
            return Err(DataError::TokenizerTextTooLarge { limit: max_bytes });
        }
        for piece in text_pieces(&text, 1) {
            match counts.get_mut(piece) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(piece.to_owned(), 1);
                }
            }
        }
    }
    Ok(counts)
}

/// How often each word of GPT-2's pattern occurs in such pieces, spelled in the byte alphabet.
fn count_words(pieces: &HashMap<String, u64>) -> tokenizers::Result<HashMap<String, u64>> {
    let pattern = words();
    let mut counts = HashMap::new();
    for (piece, n_pieces) in pieces {
        let mut piece = PreTokenizedString::from(piece.as_str());
        pattern.pre_tokenize(&mut piece)?;
        for (word, _, _) in piece.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            *counts.entry(word.to_owned()).or_default() += n_pieces;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train(max_bytes: usize, texts: &[&str]) -> Result<Tokenizer, DataError> {
        let texts = texts.iter().map(|text| (*text).to_owned());
        train_on_at_most(max_bytes, texts, 300)
    }

    #[test]
    fn too_much_text_is_refused() {
        assert!(train(8, &["abab", "abab"]).is_ok());
        let error = train(7, &["abab", "abab"]).unwrap_err();
        assert!(matches!(
            error,
            DataError::TokenizerTextTooLarge { limit: 7 }
        ));
    }

    #[test]
    fn words_are_counted_in_all_texts() {
        let texts = ["the whale's sea, the", " whale\n\nthe whale"].map(str::to_owned);
        let counts = count_words(&count_pieces(100, texts.into_iter()).unwrap()).unwrap();
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort();
        // `Ġ` spells a space and `Ċ` a line feed; the pattern gives a run of them but for its last to a word.
        let wanted = [
            ("'s", 1),
            (",", 1),
            ("the", 2),
            ("Ċ", 2),
            ("Ġsea", 1),
            ("Ġthe", 1),
            ("Ġwhale", 3),
        ];
        assert_eq!(counts, wanted.map(|(word, n)| (word.to_owned(), n)));
    }

    #[test]
    fn pairs_merge_by_frequency_and_only_when_they_occur_twice() {
        // "ab" occurs three times, then "abc" twice; "cd" and all others once.
        let tokenizer = train(100, &["abc abcd", "ab"]).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), 257 + 2);
        assert_eq!(tokenizer.token_to_id("ab"), Some(257));
        assert_eq!(tokenizer.token_to_id("abc"), Some(258));
    }
}
