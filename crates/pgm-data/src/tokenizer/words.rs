//! Text without its special tokens.

use super::Tokenizer;
use crate::DataError;

impl Tokenizer {
    /// The words in `tokens`: as [`Self::decode`], special tokens left out.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_words(&self, tokens: &[u32]) -> Result<String, DataError> {
        let own = self.special_ids();
        let words: Vec<u32> = tokens
            .iter()
            .copied()
            .filter(|token| !own.contains(token))
            .collect();
        self.inner()
            .decode(&words, true)
            .map_err(|source| self.failed("decode these tokens", source))
    }

    /// A text without the special tokens that are spelled out in it.
    pub fn without_special_tokens(&self, text: &str) -> String {
        let added = self.inner().get_added_tokens_decoder();
        let marked = added.into_values().filter(|token| token.special);
        let own = self.special_ids().into_iter();
        let own = own.filter_map(|id| self.inner().id_to_token(id));
        let mut names: Vec<String> = marked.map(|token| token.content).chain(own).collect();
        // A name may be part of a longer one.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        names.iter().fold(text.to_owned(), |text, name| {
            if name.is_empty() {
                text
            } else {
                text.replace(name, "")
            }
        })
    }

    /// Beginning, end, mask and padding, whether the tokenizer's file marks them as special or not.
    fn special_ids(&self) -> Vec<u32> {
        let others = [self.mask_id(), self.pad_id()];
        let others = others.into_iter().flatten();
        [self.bos_id(), self.eos_id()]
            .into_iter()
            .chain(others)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_special_tokens_leave() {
        let gpt2 = Tokenizer::gpt2();
        let (a, end) = (gpt2.encode("a").unwrap(), gpt2.eos_id());
        let row = [&[end][..], &a, &[end], &a, &[end]].concat();
        assert_eq!(gpt2.decode_words(&row).unwrap(), "aa");
        assert_eq!(gpt2.decode_words(&[end]).unwrap(), "");
        let spelled = gpt2.decode(&row).unwrap();
        assert_eq!(spelled, "<|endoftext|>a<|endoftext|>a<|endoftext|>");
        assert_eq!(gpt2.without_special_tokens(&spelled), "aa");
        assert_eq!(gpt2.without_special_tokens("a < b"), "a < b");
    }
}
