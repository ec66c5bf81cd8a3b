//! The parts that every byte-level BPE of this crate shares: GPT-2's pattern and byte alphabet.

use tokenizers::Tokenizer;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// A tokenizer around `model`: GPT-2's words, no normalisation, nothing added to the text.
pub(crate) fn byte_level_tokenizer(model: BPE) -> Tokenizer {
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_pre_tokenizer(Some(words()))
        .with_decoder(Some(words()));
    tokenizer
}

/// The character that stands for each byte, in the order of the bytes.
///
/// # Reference
/// `bytes_to_unicode` of <https://github.com/openai/gpt-2/blob/master/src/encoder.py>: printable bytes stand
/// for themselves, the others for the characters from 256 on.
pub(crate) fn byte_chars() -> [char; 256] {
    let mut next_char = 256_u32;
    std::array::from_fn(|byte| {
        let code = if matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) {
            u32::try_from(byte).expect("a byte fits")
        } else {
            next_char += 1;
            next_char - 1
        };
        char::from_u32(code).expect("codes below 512 are characters")
    })
}

/// Whether a text may be cut as [`text_pieces`](crate::tokenizer::text_pieces::text_pieces) does without changing its tokens.
pub(crate) fn is_cut_at_white_space(tokenizer: &Tokenizer) -> bool {
    let has_gpt2_words = matches!(
        tokenizer.get_pre_tokenizer(),
        Some(PreTokenizerWrapper::ByteLevel(words)) if words.use_regex && !words.add_prefix_space
    );
    let added_are_plain = tokenizer.get_added_tokens_decoder().values().all(|token| {
        let looks_around = token.lstrip || token.rstrip || token.single_word;
        !looks_around && !token.content.contains(char::is_whitespace)
    });
    has_gpt2_words && added_are_plain && tokenizer.get_normalizer().is_none()
}

/// One more than the largest id.
pub(crate) fn n_ids(tokenizer: &Tokenizer) -> u32 {
    let largest = tokenizer.get_vocab(true).into_values().max();
    largest.map_or(0, |id| id + 1)
}

/// GPT-2's pattern: it cuts a text into words and spells them in the byte alphabet.
pub(crate) fn words() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_alphabet_is_the_librarys() {
        let chars = byte_chars();
        assert_eq!(chars[usize::from(b' ')], 'Ġ');
        assert_eq!(chars[usize::from(b'a')], 'a');
        let ours: HashSet<char> = chars.into_iter().collect();
        let theirs: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn only_plain_byte_level_tokenizers_cut() {
        assert!(is_cut_at_white_space(&byte_level_tokenizer(BPE::default())));
        assert!(!is_cut_at_white_space(&Tokenizer::new(BPE::default())));
        let mut spaced = byte_level_tokenizer(BPE::default());
        spaced.with_pre_tokenizer(Some(ByteLevel::new(true, true, true)));
        assert!(!is_cut_at_white_space(&spaced));
    }
}
