//! Encoding that keeps account of what is lost.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{
    Model, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizer, Result,
    Token, Tokenizer,
};

use super::byte_level::byte_chars;
use super::special_token_search::spelled;
use super::text_loss::TextLoss;

/// Stands for white space in tokens of SentencePiece's kind.
const WORD_MARK: char = '▁';

/// What a tokenizer needs for counting, looked up once.
#[derive(Debug, Clone)]
pub(crate) struct LossCounter {
    unknown: Option<u32>,
    /// The byte that a character stands for, where words are spelled in the byte alphabet.
    bytes: Option<HashMap<char, u8>>,
    is_normalised_to_bytes: bool,
}

impl LossCounter {
    pub(crate) fn new(tokenizer: &Tokenizer) -> Self {
        let is_normalised_to_bytes = tokenizer.get_normalizer().is_some_and(makes_bytes);
        let is_byte_level =
            is_normalised_to_bytes || tokenizer.get_pre_tokenizer().is_some_and(splits_into_bytes);
        let bytes = || byte_chars().into_iter().zip(0_u8..=255).collect();
        Self {
            unknown: unknown_id(tokenizer),
            bytes: is_byte_level.then(bytes),
            is_normalised_to_bytes,
        }
    }

    /// The id of the token for what has none.
    pub(crate) fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// The ids of `text`, those that the library gives, and what of it they do not have.
    pub(crate) fn encode(&self, tokenizer: &Tokenizer, text: &str) -> Result<(Vec<u32>, TextLoss)> {
        let (mut ids, mut loss) = (Vec::new(), TextLoss::default());
        let added = tokenizer.get_added_vocabulary();
        let mut words = added.extract_and_normalize(tokenizer.get_normalizer(), text);
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut words)?;
        }
        let model = tokenizer.get_model();
        let mut end = 0;
        for (word, (start, word_end), tokens) in
            words.get_splits(OffsetReferential::Original, OffsetType::Byte)
        {
            between_words(tokenizer, text.get(end..start), &mut loss);
            end = word_end.max(end);
            if let Some(added) = tokens {
                ids.extend(added.iter().map(|token| token.id));
                continue;
            }
            let tokens = model.tokenize(word)?;
            self.count(model, word, &tokens, &mut loss);
            ids.extend(tokens.iter().map(|token| token.id));
        }
        between_words(tokenizer, text.get(end..), &mut loss);
        Ok((ids, loss))
    }

    fn count(&self, model: &ModelWrapper, word: &str, tokens: &[Token], loss: &mut TextLoss) {
        match model {
            ModelWrapper::BPE(bpe) if bpe.unk_token.is_none() => {
                // A character without a token makes those of the word span less than the word.
                if tokens.last().map_or(0, |token| token.offsets.1) < word.len() {
                    let is_lost = has_no_token(bpe, word);
                    self.lost_chars(word, &is_lost, |c| loss.drop_char(c));
                }
            }
            _ => {
                let unknown = tokens.iter().filter(|token| Some(token.id) == self.unknown);
                let parts = unknown.map(|token| token.offsets.0..token.offsets.1);
                // A text may hold the unknown token as a word, as WikiText does.
                let is_spelled = |part: &str| model.token_to_id(part) == self.unknown;
                let parts: Vec<_> = parts
                    .filter(|part| !word.get(part.clone()).is_some_and(is_spelled))
                    .collect();
                if parts.is_empty() {
                    return;
                }
                let is_lost = |(place, _)| parts.iter().any(|part| part.contains(&place));
                let is_lost: Vec<bool> = word.char_indices().map(is_lost).collect();
                self.lost_chars(word, &is_lost, |c| {
                    if c.is_whitespace() || c == WORD_MARK {
                        loss.n_white_space += 1;
                    } else {
                        loss.forget_char(c);
                    }
                });
            }
        }
    }

    /// The characters of the text that lose a part; `is_lost` is of those of the word as it is spelled.
    fn lost_chars(&self, word: &str, is_lost: &[bool], mut lose: impl FnMut(char)) {
        let flagged = || word.chars().zip(is_lost).filter(|(_, lost)| **lost);
        let Some(alphabet) = &self.bytes else {
            return flagged().for_each(|(c, _)| lose(c));
        };
        let bytes: Option<Vec<u8>> = word.chars().map(|c| alphabet.get(&c).copied()).collect();
        let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return flagged().for_each(|(c, _)| lose(c));
        };
        // A character is as many characters of the alphabet as it has bytes.
        for (start, c) in text.char_indices() {
            if is_lost[start..start + c.len_utf8()].contains(&true) {
                lose(c);
            }
        }
    }

    /// What is in the text of `ids`, which are those of `text`, and not in the text, or the other way round. White space
    /// and the unknown token do not count.
    pub(crate) fn decoding_loss(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        ids: &[u32],
    ) -> Result<TextLoss> {
        // Its decoder undoes such a normaliser, so that there is nothing to compare with.
        if self.is_normalised_to_bytes {
            return Ok(TextLoss::default());
        }
        let mut balance: HashMap<char, i64> = HashMap::new();
        let unknown = self.unknown.and_then(|id| spelled(tokenizer, id));
        let unknown = unknown.as_deref().filter(|unknown| !unknown.is_empty());
        let mut count = |text: &str, sign: i64| {
            let text = unknown.map_or(Cow::Borrowed(text), |unknown| {
                text.replace(unknown, "").into()
            });
            for c in text.chars() {
                if !c.is_whitespace() && c != WORD_MARK {
                    *balance.entry(c).or_default() += sign;
                }
            }
        };
        let known = ids.iter().copied().filter(|&id| Some(id) != self.unknown);
        count(&tokenizer.decode(&known.collect::<Vec<_>>(), false)?, 1);
        let added = tokenizer.get_added_vocabulary();
        let parts = added.extract_and_normalize(tokenizer.get_normalizer(), text);
        for (part, _, tokens) in parts.get_splits(OffsetReferential::Original, OffsetType::None) {
            match tokens {
                Some(added) => added.iter().for_each(|token| count(&token.value, -1)),
                None => count(part, -1),
            }
        }
        let mut loss = TextLoss::default();
        let mut balance: Vec<(char, i64)> = balance.into_iter().collect();
        balance.sort_unstable();
        for (c, n) in balance {
            match n {
                0 => {}
                1.. => loss.invent_chars(c, n.unsigned_abs()),
                _ => (0..n.unsigned_abs()).for_each(|_| loss.drop_char(c)),
            }
        }
        Ok(loss)
    }
}

/// Whether a byte-level BPE has a token for each byte, so that it can spell any text.
pub(crate) fn has_all_bytes(tokenizer: &Tokenizer) -> bool {
    let has = |c: char| tokenizer.get_model().token_to_id(&c.to_string()).is_some();
    byte_chars().into_iter().all(has)
}

/// Characters that are lost between words: a pre-tokenizer may take some away. White space ends words, and what a
/// normaliser makes nothing of is gone by its design.
fn between_words(tokenizer: &Tokenizer, gap: Option<&str>, loss: &mut TextLoss) {
    for c in gap.unwrap_or_default().chars() {
        if !c.is_whitespace() && !normalised(tokenizer, &c.to_string()).trim().is_empty() {
            loss.drop_char(c);
        }
    }
}

fn normalised(tokenizer: &Tokenizer, text: &str) -> String {
    let mut text = NormalizedString::from(text);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        // One that fails takes nothing away.
        let _ = normalizer.normalize(&mut text);
    }
    text.get().to_owned()
}

/// For each character of a word, whether the model passes it over.
///
/// # Reference
/// `merge_word` of `tokenizers` (`models/bpe/model.rs`).
fn has_no_token(bpe: &BPE, word: &str) -> Vec<bool> {
    let n_chars = word.chars().count();
    let chars = word.chars().enumerate().map(|(place, c)| {
        let prefix = bpe.continuing_subword_prefix.as_deref();
        let suffix = bpe.end_of_word_suffix.as_deref();
        let prefix = prefix.filter(|_| place > 0).unwrap_or_default();
        let suffix = suffix.filter(|_| place + 1 == n_chars).unwrap_or_default();
        let symbol = format!("{prefix}{c}{suffix}");
        let is_known = |token: &str| bpe.token_to_id(token).is_some();
        let has_bytes = || {
            symbol
                .bytes()
                .all(|byte| is_known(&format!("<0x{byte:02X}>")))
        };
        !(is_known(&symbol) || bpe.byte_fallback && has_bytes())
    });
    chars.collect()
}

fn unknown_id(tokenizer: &Tokenizer) -> Option<u32> {
    match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.token_to_id(model.unk_token.as_deref()?),
        ModelWrapper::WordPiece(model) => model.token_to_id(&model.unk_token),
        ModelWrapper::WordLevel(model) => model.token_to_id(&model.unk_token),
        // The library shows it in the model's JSON alone.
        ModelWrapper::Unigram(model) => {
            #[derive(Deserialize)]
            struct Unknown {
                unk_id: Option<u32>,
            }
            let json = serde_json::to_string(model).ok()?;
            serde_json::from_str::<Unknown>(&json).ok()?.unk_id
        }
    }
}

/// Whether words are spelled in the byte alphabet.
fn splits_into_bytes(part: &PreTokenizerWrapper) -> bool {
    match part {
        PreTokenizerWrapper::ByteLevel(_) => true,
        PreTokenizerWrapper::Sequence(parts) => parts.as_ref().iter().any(splits_into_bytes),
        _ => false,
    }
}

/// The same of a normaliser.
fn makes_bytes(part: &NormalizerWrapper) -> bool {
    match part {
        NormalizerWrapper::ByteLevel(_) => true,
        NormalizerWrapper::Sequence(parts) => parts.as_ref().iter().any(makes_bytes),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokenizer(json: serde_json::Value) -> Tokenizer {
        let mut whole = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null});
        for (key, value) in json.as_object().unwrap() {
            whole[key] = value.clone();
        }
        Tokenizer::from_bytes(whole.to_string().as_bytes()).unwrap()
    }

    fn encode(tokenizer: &Tokenizer, text: &str) -> (Vec<u32>, TextLoss) {
        let counted = LossCounter::new(tokenizer).encode(tokenizer, text).unwrap();
        // The ids are the library's.
        let encoding = tokenizer.encode(text, false).unwrap();
        assert_eq!(counted.0, encoding.get_ids());
        counted
    }

    /// Counts of what was dropped and what became unknown, and the characters.
    fn lost(tokenizer: &Tokenizer, text: &str) -> (u64, u64, String) {
        let (_, loss) = encode(tokenizer, text);
        (loss.n_dropped, loss.n_unknown, loss.examples)
    }

    fn bpe(vocab: &[&str], more: serde_json::Value) -> serde_json::Value {
        let vocab: serde_json::Map<_, _> = vocab
            .iter()
            .zip(0..)
            .map(|(t, id)| ((*t).to_owned(), json!(id)))
            .collect();
        let mut model = json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": []});
        for (key, value) in more.as_object().unwrap() {
            model[key] = value.clone();
        }
        model
    }

    #[test]
    fn a_bpe_without_an_unknown_token_drops_characters() {
        let plain = tokenizer(json!({"model": bpe(&["a", "b", "é"], json!({}))}));
        assert_eq!(lost(&plain, "abéa"), (0, 0, String::new()));
        // A space, a long character twice and one more.
        assert_eq!(lost(&plain, "日aé 日c"), (4, 0, "日 c".to_owned()));
        assert_eq!(encode(&plain, "日a").0, [0]);
        // A word that is a token is one, whatever its characters.
        let whole = tokenizer(json!({"model": bpe(&["a", "xy"], json!({"ignore_merges": true}))}));
        assert_eq!(lost(&whole, "xy"), (0, 0, String::new()));
        assert_eq!(lost(&whole, "xya"), (2, 0, "xy".to_owned()));
        // With a suffix at the end of words, as in GPT's first.
        let ends = json!({"end_of_word_suffix": "</w>"});
        let ends = tokenizer(json!({"model": bpe(&["a", "a</w>", "b"], ends)}));
        assert_eq!(lost(&ends, "aba"), (0, 0, String::new()));
        assert_eq!(lost(&ends, "aab"), (1, 0, "b".to_owned()));
    }

    #[test]
    fn bytes_stand_for_what_has_no_token() {
        let fallback = json!({"byte_fallback": true});
        let some = bpe(&["a", "<0xC3>", "<0xA9>"], fallback);
        let some = tokenizer(json!({"model": some}));
        assert_eq!(lost(&some, "aé"), (0, 0, String::new()));
        assert_eq!(lost(&some, "aè"), (1, 0, "è".to_owned()));
    }

    #[test]
    fn characters_are_counted_and_not_their_bytes() {
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        // `é` is C3 A9, which are `Ã` and `©` in the alphabet; `日` is E6 97 A5.
        let vocab = ["a", "Ġ", "Ã", "<unk>"];
        let dropping = bpe(&vocab, json!({}));
        let dropping = tokenizer(json!({"model": dropping, "pre_tokenizer": byte_level}));
        assert_eq!(lost(&dropping, "aé a日日"), (3, 0, "é日".to_owned()));
        for fuse in [false, true] {
            let unknown = bpe(&vocab, json!({"unk_token": "<unk>", "fuse_unk": fuse}));
            let unknown = tokenizer(json!({"model": unknown, "pre_tokenizer": byte_level}));
            assert_eq!(lost(&unknown, "aé a日日"), (0, 3, "é日".to_owned()));
        }
    }

    #[test]
    fn unknown_tokens_lose_what_they_stand_for() {
        let vocab = json!({"<unk>": 0, "the": 1, "whale": 2});
        let words = json!({"model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
            "pre_tokenizer": {"type": "WhitespaceSplit"}});
        let words = tokenizer(words);
        // White space ends words, and a text may hold the unknown token itself.
        assert_eq!(
            lost(&words, "the \t whale\n<unk> the"),
            (0, 0, String::new())
        );
        assert_eq!(lost(&words, "the squid"), (0, 5, "squid".to_owned()));
        let pieces = json!([["<unk>", 0.0], ["▁a", -1.0], ["a", -2.0], ["▁", -3.0]]);
        let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
        let unigram = json!({"model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false},
            "pre_tokenizer": metaspace});
        let unigram = tokenizer(unigram);
        assert_eq!(lost(&unigram, "a aa"), (0, 0, String::new()));
        // A line end is white space, too.
        assert_eq!(lost(&unigram, "a\na ééx"), (0, 3, "éx".to_owned()));
        let (ids, loss) = encode(&unigram, "a\na a");
        assert_eq!((loss.is_none(), loss.n_white_space), (true, 1));
        // The unknown token for it is nothing that a decoder invents.
        let counter = LossCounter::new(&unigram);
        let decoded = counter.decoding_loss(&unigram, "a\na a", &ids).unwrap();
        assert_eq!(decoded, TextLoss::default());
    }

    #[test]
    fn what_normalisers_change_is_no_loss() {
        let bert = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true});
        let vocab = json!({"[UNK]": 0, "naive": 1, "cafe": 2, "co": 3, "##op": 4});
        let model = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab});
        let bert = json!({"normalizer": bert, "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": model,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}});
        let bert = tokenizer(bert);
        let text = "Naïve  CAFÉ\u{0}\n \u{fffd} co\u{ad}op";
        let (ids, loss) = encode(&bert, text);
        assert_eq!(
            (ids.as_slice(), loss),
            (&[1, 2, 3, 4][..], TextLoss::default())
        );
        let counter = LossCounter::new(&bert);
        assert_eq!(
            counter.decoding_loss(&bert, text, &ids).unwrap(),
            TextLoss::default()
        );
        // A word without pieces is unknown as a whole.
        assert_eq!(lost(&bert, "naive squid 日"), (0, 6, "squid日".to_owned()));
    }

    #[test]
    fn what_a_pre_tokenizer_takes_away_is_lost() {
        let split = json!({"type": "Split", "pattern": {"String": "-"}, "behavior": "Removed", "invert": false});
        let model = bpe(&["a", "b"], json!({}));
        let split = tokenizer(json!({"model": model, "pre_tokenizer": split}));
        assert_eq!(lost(&split, "a-b--a"), (3, 0, "-".to_owned()));
    }

    #[test]
    fn decoders_that_spell_other_text_are_found() {
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let vocab = ["a", "b", "Ġ"];
        let parts = json!({"model": bpe(&vocab, json!({})), "pre_tokenizer": byte_level});
        let check = |tokenizer: &Tokenizer| {
            let (ids, loss) = encode(tokenizer, "a b a");
            assert!(loss.is_none());
            LossCounter::new(tokenizer)
                .decoding_loss(tokenizer, "a b a", &ids)
                .unwrap()
        };
        let mut without = tokenizer(parts);
        let loss = check(&without);
        assert_eq!((loss.n_invented, loss.examples.as_str()), (2, "Ġ"));
        without.with_decoder(Some(crate::tokenizer::byte_level::words()));
        assert!(check(&without).is_none());
    }
}
