use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Words in a cache, at most; some 10 MB.
const MAX_WORDS: usize = 1 << 16;

/// Longer words are rare and not kept.
const MAX_WORD_BYTES: usize = 48;

/// The tokens of words seen before.
///
/// Natural text is made of few words, and a tokenizer's bookkeeping for a word costs far more than to look it up.
#[derive(Default)]
pub(crate) struct WordCache {
    tokens: HashMap<Box<str>, Box<[u32]>>,
}

impl WordCache {
    /// Appends the tokens of `word` to `tokens`; `encode` gives those of a word that is not known yet.
    pub(crate) fn extend<E>(
        &mut self,
        word: &str,
        tokens: &mut Vec<u32>,
        encode: impl FnOnce() -> Result<Vec<u32>, E>,
    ) -> Result<(), E> {
        if let Some(known) = self.tokens.get(word) {
            tokens.extend_from_slice(known);
            return Ok(());
        }
        let new = encode()?;
        tokens.extend_from_slice(&new);
        if word.len() <= MAX_WORD_BYTES && self.tokens.len() < MAX_WORDS {
            self.tokens.insert(word.into(), new.into());
        }
        Ok(())
    }
}

/// Caches that threads borrow, one each, so that none waits for another.
#[derive(Default)]
pub(crate) struct WordCaches {
    idle: Mutex<Vec<WordCache>>,
}

impl WordCaches {
    /// Calls `work` with a cache that nobody else uses at the time.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut WordCache) -> T) -> T {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let borrowed = idle().pop();
        let mut cache = borrowed.unwrap_or_default();
        let result = work(&mut cache);
        idle().push(cache);
        result
    }
}

impl fmt::Debug for WordCaches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WordCaches").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_encoded_once_and_errors_are_not_kept() {
        let caches = WordCaches::default();
        let mut tokens = Vec::new();
        let mut n_encoded = 0;
        for word in ["a", "b", "a"] {
            caches.with(|cache| {
                let encode = || {
                    n_encoded += 1;
                    Ok::<_, ()>(vec![u32::from(word.as_bytes()[0]), 7])
                };
                cache.extend(word, &mut tokens, encode).unwrap();
            });
        }
        assert_eq!(tokens, [97, 7, 98, 7, 97, 7]);
        assert_eq!(n_encoded, 2);
        let failed = caches.with(|cache| cache.extend("c", &mut tokens, || Err("no")));
        assert_eq!(failed, Err("no"));
        let again = caches.with(|cache| cache.extend("c", &mut tokens, || Err("still no")));
        assert_eq!(again, Err("still no"));
    }

    #[test]
    fn long_words_and_words_beyond_the_limit_are_not_kept() {
        let mut cache = WordCache::default();
        let mut tokens = Vec::new();
        for n in 0..MAX_WORDS + 10 {
            let encode = || Ok::<_, ()>(vec![n as u32]);
            cache.extend(&n.to_string(), &mut tokens, encode).unwrap();
        }
        assert_eq!(cache.tokens.len(), MAX_WORDS);
        assert_eq!(tokens.len(), MAX_WORDS + 10);
        let mut cache = WordCache::default();
        let encode = || Ok::<_, ()>(vec![1]);
        cache.extend(&"x".repeat(49), &mut tokens, encode).unwrap();
        assert!(cache.tokens.is_empty());
    }
}
