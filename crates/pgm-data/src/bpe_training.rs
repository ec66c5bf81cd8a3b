use std::sync::atomic::{AtomicUsize, Ordering};

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::{AddedToken, Tokenizer};

use crate::byte_level::{byte_chars, byte_level_tokenizer};
use crate::text_pieces::text_pieces;
use crate::{DataError, TokenizerSpec};

/// The library counts pairs in 32 bits and wraps silently; a pair occurs at most once a byte.
const MAX_TEXT_BYTES: usize = i32::MAX as usize;

/// Bytes of text that one thread takes at a time.
const PIECE_BYTES: usize = 1 << 16;

/// Learns the merges of a byte-level BPE of at most `vocab_size` tokens, special token included.
pub(crate) fn train_byte_level_bpe(
    texts: impl Iterator<Item = String> + Send,
    vocab_size: usize,
) -> Result<Tokenizer, DataError> {
    train_on_at_most(MAX_TEXT_BYTES, texts, vocab_size)
}

fn train_on_at_most(
    max_bytes: usize,
    texts: impl Iterator<Item = String> + Send,
    vocab_size: usize,
) -> Result<Tokenizer, DataError> {
    let spec = TokenizerSpec::bpe(vocab_size)?;
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(2)
        .initial_alphabet(byte_chars().into_iter().collect())
        .special_tokens(vec![AddedToken::from(crate::Tokenizer::END_OF_TEXT, true)])
        .build()
        .into();

    let n_bytes = AtomicUsize::new(0);
    let pieces = texts
        .take_while(|text| {
            n_bytes.fetch_add(text.len(), Ordering::Relaxed) + text.len() <= max_bytes
        })
        .flat_map(|text| {
            let pieces: Vec<String> = text_pieces(&text, PIECE_BYTES).map(str::to_owned).collect();
            pieces
        });
    let mut tokenizer = byte_level_tokenizer(BPE::default());
    tokenizer
        .train(&mut trainer, pieces)
        .map_err(|source| DataError::Tokenizer {
            name: spec.to_string(),
            action: "be trained",
            reason: source,
        })?;
    if n_bytes.into_inner() > max_bytes {
        return Err(DataError::TokenizerTextTooLarge { limit: max_bytes });
    }
    Ok(tokenizer)
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
    fn pairs_merge_by_frequency_and_only_when_they_occur_twice() {
        // "ab" occurs three times, then "abc" twice; "cd" and all others once.
        let tokenizer = train(100, &["abc abcd", "ab"]).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), 257 + 2);
        assert_eq!(tokenizer.token_to_id("ab"), Some(257));
        assert_eq!(tokenizer.token_to_id("abc"), Some(258));
    }
}
