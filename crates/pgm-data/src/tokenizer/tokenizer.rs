use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::bpe_training::train_byte_level_bpe;
use super::byte_level::{byte_level_tokenizer, is_cut_at_white_space, n_ids};
use super::counted_encoding::{LossCounter, has_all_bytes};
use super::gpt2_bpe::gpt2_bpe;
use super::special_token_search::SpecialTokenSearch;
use super::special_tokens::{DeclaredToken, SpecialTokens};
use super::text_loss::TextLoss;
use super::text_pieces::text_pieces;
use super::word_cache::WordCaches;
use crate::files::sha256_hex;
use crate::{DataError, TokenizerSpec};

/// Bytes of text that are encoded at a time, where a text may be cut.
const PIECE_BYTES: usize = 1 << 16;

/// Text to token ids and back, around a tokenizer of the `tokenizers` library.
///
/// Encoding adds no special tokens. A special token that is spelled out in a text is encoded as that token,
/// as Hugging Face's tokenizers do.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    name: String,
    fingerprint: String,
    vocab_size: u32,
    special: SpecialTokens,
    /// Words can be encoded by themselves, and there is a token for each byte.
    is_cut_at_white_space: bool,
    word_caches: Arc<WordCaches>,
    losses: LossCounter,
    has_warned: Arc<AtomicBool>,
}

impl Tokenizer {
    /// The special token of [`train_bpe`](Self::train_bpe) and [`gpt2`](Self::gpt2), beginning and end in one.
    pub const END_OF_TEXT: &str = "<|endoftext|>";

    /// GPT-2's tokenizer with its exact 50257 ids.
    pub fn gpt2() -> Self {
        let mut inner = byte_level_tokenizer(gpt2_bpe());
        inner
            .add_special_tokens([tokenizers::AddedToken::from(Self::END_OF_TEXT, true)])
            .expect("the token is in the vocabulary");
        Self::new(inner, "gpt2".to_owned(), &[]).expect("GPT-2 has a token for the end of a text")
    }

    /// Learns a byte-level BPE of `vocab_size` tokens; id 0 is `<|endoftext|>`, 1 to 256 are the bytes.
    ///
    /// The same texts give the same ids. A text too short for so many merges gives a smaller vocabulary
    /// (a pair has to occur twice); a warning is logged.
    ///
    /// # Errors
    /// When `vocab_size` is out of range, or the texts are longer than 2 GiB together (the pair counts have
    /// 32 bits).
    pub fn train_bpe(
        texts: impl Iterator<Item = String>,
        vocab_size: usize,
    ) -> Result<Self, DataError> {
        let name = TokenizerSpec::bpe(vocab_size)?.to_string();
        let tokenizer = Self::new(train_byte_level_bpe(texts, vocab_size)?, name, &[])?;
        if tokenizer.vocab_size() < vocab_size {
            tracing::warn!(
                asked = vocab_size,
                got = tokenizer.vocab_size,
                "the text is too short for the vocabulary"
            );
        }
        Ok(tokenizer)
    }

    /// The ids of `text`, without any token added. Where they do not have all of the text, a warning says so, once.
    ///
    /// # Errors
    /// When the tokenizer has no token for a part of the text; byte-level tokenizers always have one.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        Ok(self.encode_batch(&[text])?.pop().unwrap_or_default())
    }

    /// The ids of each text, computed on all cores.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, DataError> {
        let (tokens, loss) = self.encode_batch_counting(texts)?;
        if !loss.is_none() && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                tokenizer = self.name,
                "the tokenizer loses text: {loss}; this is said once"
            );
        }
        Ok(tokens)
    }

    /// The same, with what of the texts the ids do not have.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_batch_counting(
        &self,
        texts: &[&str],
    ) -> Result<(Vec<Vec<u32>>, TextLoss), DataError> {
        if self.is_cut_at_white_space {
            Ok((self.encode_words(texts)?, TextLoss::default()))
        } else {
            self.encode_whole(texts)
        }
    }

    /// What [`Self::decode`] loses or invents of a text, from its tokens.
    pub(crate) fn decoding_loss(&self, text: &str) -> Result<TextLoss, DataError> {
        let ids = self.encode(text)?;
        let loss = self.losses.decoding_loss(&self.inner, text, &ids);
        loss.map_err(|source| self.failed("decode these tokens", source))
    }

    /// Word by word, each word with the white space before it; see [`text_pieces`].
    fn encode_words(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, DataError> {
        let mut pieces = Vec::new();
        let mut owners = Vec::new();
        for (owner, text) in texts.iter().enumerate() {
            pieces.extend(text_pieces(text, PIECE_BYTES));
            owners.resize(pieces.len(), owner);
        }
        let encode_piece = |piece: &str| {
            self.word_caches.with(|cache| {
                let mut tokens = Vec::new();
                for word in text_pieces(piece, 1) {
                    cache.extend(word, &mut tokens, || {
                        let encoding = self.inner.encode_fast(word, false);
                        encoding.map(|encoding| encoding.get_ids().to_vec())
                    })?;
                }
                Ok(tokens)
            })
        };
        let encoded: Vec<Vec<u32>> = pieces
            .into_par_iter()
            .map(encode_piece)
            .collect::<Result<_, _>>()
            .map_err(|source| self.failed("encode this text", source))?;
        let mut tokens = vec![Vec::new(); texts.len()];
        for (piece, owner) in encoded.into_iter().zip(owners) {
            if tokens[owner].is_empty() {
                tokens[owner] = piece;
            } else {
                tokens[owner].extend_from_slice(&piece);
            }
        }
        Ok(tokens)
    }

    /// Each text as a whole, for tokenizers that look further than a word or may lose something.
    fn encode_whole(&self, texts: &[&str]) -> Result<(Vec<Vec<u32>>, TextLoss), DataError> {
        let encode = |text: &&str| self.losses.encode(&self.inner, text);
        let encoded: Vec<(Vec<u32>, TextLoss)> = texts
            .par_iter()
            .map(encode)
            .collect::<Result<_, _>>()
            .map_err(|source| self.failed("encode this text", source))?;
        let mut loss = TextLoss::default();
        let tokens = encoded.into_iter().map(|(tokens, of_text)| {
            loss.add(&of_text);
            tokens
        });
        Ok((tokens.collect(), loss))
    }

    /// The text of `tokens`, special tokens spelled out.
    ///
    /// Ids outside of the vocabulary are left out, and bytes that are not UTF-8 together become `U+FFFD`.
    ///
    /// # Errors
    /// When a decoder of a foreign `tokenizer.json` fails; byte-level ones never do.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        self.inner
            .decode(tokens, false)
            .map_err(|source| self.failed("decode these tokens", source))
    }

    /// The text of a row or of a drawn sequence: as [`Self::decode`], without a BOS in front and an EOS at the
    /// end.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_sequence(&self, tokens: &[u32]) -> Result<String, DataError> {
        let tokens = tokens.strip_prefix(&[self.bos_id()]).unwrap_or(tokens);
        self.decode(tokens.strip_suffix(&[self.eos_id()]).unwrap_or(tokens))
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size as usize
    }

    /// The token that begins a row.
    pub fn bos_id(&self) -> u32 {
        self.special.bos.id
    }

    /// The token that ends a document and a row.
    pub fn eos_id(&self) -> u32 {
        self.special.eos.id
    }

    /// The tokenizer's own mask token, such as BERT's; most have none.
    pub fn mask_id(&self) -> Option<u32> {
        self.special.mask.as_ref().map(|token| token.id)
    }

    /// The token that fills rows up, where there is one.
    pub fn pad_id(&self) -> Option<u32> {
        self.special.pad.as_ref().map(|token| token.id)
    }

    /// The tokens that stand for no text, and what said so.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// Whether each id stands for the same token in both, however their files differ.
    pub fn has_vocabulary_of(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
            || self.vocab_size == other.vocab_size
                && self.inner.get_vocab(true) == other.inner.get_vocab(true)
    }

    /// SHA-256 of the serialised tokenizer in hexadecimal digits, and of its special tokens where it does not tell them
    /// by itself: equal fingerprints mean equal ids.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What the tokenizer is called: its [`TokenizerSpec`] as text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls the tokenizer what the configuration calls it.
    pub(crate) fn with_name(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Looks for special tokens in what is declared, then in the tokenizer.
    pub(crate) fn new(
        inner: tokenizers::Tokenizer,
        name: String,
        declared: &[DeclaredToken],
    ) -> Result<Self, DataError> {
        let losses = LossCounter::new(&inner);
        let search = SpecialTokenSearch::new(&inner, &name, declared, losses.unknown());
        let special = search.find()?;
        Self::build(inner, name, special, losses)
    }

    /// Takes special tokens that were found before.
    pub(crate) fn with_tokens(
        inner: tokenizers::Tokenizer,
        name: String,
        special: SpecialTokens,
    ) -> Result<Self, DataError> {
        let losses = LossCounter::new(&inner);
        Self::build(inner, name, special, losses)
    }

    fn build(
        inner: tokenizers::Tokenizer,
        name: String,
        special: SpecialTokens,
        losses: LossCounter,
    ) -> Result<Self, DataError> {
        let mut content = serialise(&inner, &name)?;
        let alone = SpecialTokenSearch::new(&inner, &name, &[], losses.unknown()).find();
        if !alone.is_ok_and(|alone| alone.ids() == special.ids()) {
            let ids = serde_json::to_string(&special.ids());
            content += &ids.expect("numbers have a JSON form");
        }
        Ok(Self {
            fingerprint: sha256_hex(content.as_bytes()),
            special,
            vocab_size: n_ids(&inner),
            is_cut_at_white_space: is_cut_at_white_space(&inner) && has_all_bytes(&inner),
            word_caches: Arc::default(),
            losses,
            has_warned: Arc::default(),
            inner,
            name,
        })
    }

    pub(crate) fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    pub(crate) fn into_inner(self) -> tokenizers::Tokenizer {
        self.inner
    }

    pub(super) fn failed(
        &self,
        action: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> DataError {
        DataError::Tokenizer {
            name: self.name.clone(),
            action,
            reason: source,
        }
    }
}

/// The one form that is saved and hashed.
pub(crate) fn serialise(inner: &tokenizers::Tokenizer, name: &str) -> Result<String, DataError> {
    inner
        .to_string(false)
        .map_err(|source| DataError::Tokenizer {
            name: name.to_owned(),
            action: "be serialised",
            reason: source,
        })
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("name", &self.name)
            .field("vocab_size", &self.vocab_size)
            .field("special", &self.special)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static GPT2: LazyLock<Tokenizer> = LazyLock::new(Tokenizer::gpt2);
    static SMALL: LazyLock<Tokenizer> = LazyLock::new(|| train(400));

    fn train(vocab_size: usize) -> Tokenizer {
        let texts = [include_str!("tokenizer.rs"), include_str!("../error.rs")];
        Tokenizer::train_bpe(texts.into_iter().map(str::to_owned), vocab_size).unwrap()
    }

    #[test]
    fn gpt2_gives_the_known_ids() {
        assert_eq!(GPT2.encode("Hello world").unwrap(), [15496, 995]);
        assert_eq!(
            GPT2.encode(" the quick brown fox\n\njumps").unwrap(),
            [262, 2068, 7586, 21831, 198, 198, 73, 8142]
        );
        assert_eq!(GPT2.encode("a<|endoftext|>").unwrap(), [64, 50256]);
        assert_eq!(GPT2.vocab_size(), 50257);
        assert_eq!((GPT2.bos_id(), GPT2.eos_id()), (50256, 50256));
        assert_eq!((GPT2.mask_id(), GPT2.pad_id()), (None, None));
        assert_eq!(GPT2.encode("").unwrap(), [0_u32; 0]);
    }

    #[test]
    fn gpt2_equals_tiktoken_on_varied_text() {
        let tiktoken = tiktoken_rs::r50k_base().unwrap();
        let texts = [
            include_str!("tokenizer.rs"),
            include_str!("../error.rs"),
            include_str!("../../Cargo.toml"),
            "I'll've they're can't IT'S 'tis it's 12345678 3.14159  x  \t\t y \r\n\r\n  z   ",
            "Ünïcödé — “quotes” … 日本語のテキスト。한국어 עברית العربية हिन्दी 🙂👩‍👩‍👧 \u{a0}nbsp\u{3000}wide \u{0}\u{7f}",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ================ supercalifragilisticexpialidocious",
        ];
        for text in texts {
            assert_eq!(
                GPT2.encode(text).unwrap(),
                tiktoken.encode_with_special_tokens(text)
            );
        }
        let long = texts.concat().repeat(8);
        assert!(long.len() > 2 * PIECE_BYTES);
        let expected = tiktoken.encode_with_special_tokens(&long);
        assert_eq!(GPT2.encode(&long).unwrap(), expected);
    }

    #[test]
    fn only_the_ends_of_a_sequence_are_left_out_of_its_text() {
        let ids = GPT2.encode("a").unwrap();
        let (bos, eos) = (GPT2.bos_id(), GPT2.eos_id());
        let decode = |tokens: &[u32]| GPT2.decode_sequence(tokens).unwrap();
        assert_eq!(decode(&[&[bos][..], &ids, &[eos]].concat()), "a");
        assert_eq!(decode(&ids), "a");
        assert_eq!(decode(&[bos]), "");
        let joined = [&[bos][..], &ids, &[eos], &ids].concat();
        assert_eq!(decode(&joined), "a<|endoftext|>a");
    }

    #[test]
    fn training_is_deterministic() {
        let (first, second) = (train(400), train(400));
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(first.vocab_size(), 400);
        assert_eq!(first.name(), "bpe-400");
        assert_eq!((first.bos_id(), first.eos_id()), (0, 0));
        // Behind the special token stand the 188 printable bytes, then the others from 0 on.
        assert_eq!(
            first.encode("<|endoftext|>\n").unwrap(),
            [0, 1 + 188 + u32::from(b'\n')]
        );
        assert_ne!(first.fingerprint(), train(401).fingerprint());
        assert!(first.has_vocabulary_of(&second) && !first.has_vocabulary_of(&train(401)));
    }

    #[test]
    fn a_saved_tokenizer_is_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        for tokenizer in [&*GPT2, &*SMALL] {
            tokenizer.save(&path).unwrap();
            let read = Tokenizer::from_file(&path).unwrap();
            assert_eq!(read.fingerprint(), tokenizer.fingerprint());
            assert_eq!(read.special, tokenizer.special);
            assert_eq!(read.vocab_size(), tokenizer.vocab_size());
            let text = include_str!("tokenizer.rs");
            assert_eq!(read.encode(text).unwrap(), tokenizer.encode(text).unwrap());
        }
    }

    #[test]
    fn bad_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        let missing = Tokenizer::from_file(&path).unwrap_err();
        assert!(matches!(missing, DataError::MissingPath { .. }));
        std::fs::write(&path, "{}").unwrap();
        let broken = Tokenizer::from_file(&path).unwrap_err();
        assert!(matches!(broken, DataError::Tokenizer { .. }));
        let plain = byte_level_tokenizer(tokenizers::models::bpe::BPE::default());
        std::fs::write(&path, plain.to_string(false).unwrap()).unwrap();
        let plain = Tokenizer::from_file(&path).unwrap_err();
        assert!(matches!(plain, DataError::MissingSpecialTokens { .. }));
    }

    proptest! {
        #[test]
        fn byte_level_decoding_undoes_encoding(text in any::<String>()) {
            prop_assert_eq!(GPT2.decode(&GPT2.encode(&text).unwrap()).unwrap(), text.clone());
            prop_assert_eq!(SMALL.decode(&SMALL.encode(&text).unwrap()).unwrap(), text);
        }

        #[test]
        fn words_encode_as_the_whole_does(text in "([a-zA-Z']|\\PC|\\s|<\\|endoftext\\|>){0,40}") {
            for tokenizer in [&*GPT2, &*SMALL] {
                prop_assert!(tokenizer.is_cut_at_white_space);
                let (whole, loss) = tokenizer.encode_whole(&[&text]).unwrap();
                prop_assert!(loss.is_none());
                // Twice, as the second time the words are known.
                for _ in 0..2 {
                    prop_assert_eq!(&tokenizer.encode_words(&[&text]).unwrap(), &whole);
                }
            }
        }
    }
}
