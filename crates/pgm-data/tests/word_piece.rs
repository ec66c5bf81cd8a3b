//! A tokenizer of BERT's kind, from its file to padded rows, as LM1B is prepared.

#![allow(clippy::unwrap_used)]

use std::fs;

use burn_dataset::Dataset;
use pgm_data::{
    BadLines, Corpus, DocumentSplit, Packing, PrepareConfig, Tokenizer, TokenizerSpec,
    ValidationSplit, prepare,
};
use serde_json::{Value, json};

const VOCABULARY: [&str; 11] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "whale", "##s", "is", "white", ".",
];

/// A `tokenizer.json` as BERT's, which would add `[CLS]` and `[SEP]`, cut at 5 tokens and pad by itself.
fn tokenizer_json(has_added_tokens: bool) -> Value {
    let added = |id: usize| {
        json!({"id": id, "content": VOCABULARY[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let n_added = if has_added_tokens { 5 } else { 0 };
    let ids: serde_json::Map<_, _> = VOCABULARY
        .iter()
        .enumerate()
        .map(|(id, token)| (token.to_string(), json!(id)))
        .collect();
    json!({
        "version": "1.0",
        "truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 5}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": (0..n_added).map(added).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids}
    })
}

#[test]
fn special_tokens_are_found_with_and_without_their_marks() {
    let folder = tempfile::tempdir().unwrap();
    for has_added_tokens in [true, false] {
        let path = folder.path().join("bert.json");
        fs::write(&path, tokenizer_json(has_added_tokens).to_string()).unwrap();
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (2, 3));
        assert_eq!(
            (tokenizer.mask_id(), tokenizer.pad_id()),
            (Some(4), Some(0))
        );
        assert_eq!(tokenizer.vocab_size(), VOCABULARY.len());
        // Nothing is added, cut or padded here; rows do that.
        let ids = tokenizer.encode("The whales is WHITE, the squid.").unwrap();
        assert_eq!(ids, [5, 6, 7, 8, 9, 1, 5, 1, 10]);
        assert_eq!(tokenizer.decode(&ids[..3]).unwrap(), "the whales");
        tokenizer.save(&path).unwrap();
        let again = Tokenizer::from_file(&path).unwrap();
        assert_eq!(again.fingerprint(), tokenizer.fingerprint());
    }
}

#[test]
fn documents_become_rows_of_cls_text_sep_and_padding() {
    let root = tempfile::tempdir().unwrap();
    let (tokenizer, input) = (
        root.path().join("bert.json"),
        root.path().join("lines.jsonl"),
    );
    fs::write(&tokenizer, tokenizer_json(true).to_string()).unwrap();
    let texts = ["The whale.", "the whales is white. the end.", "white", "is"];
    let lines = texts.map(|text| json!({"text": text}).to_string());
    fs::write(&input, lines.join("\n")).unwrap();
    let config = PrepareConfig {
        inputs: vec![input],
        tokenizer: TokenizerSpec::File(tokenizer),
        validation: ValidationSplit::Documents(1),
        split: DocumentSplit::File,
        text_field: Corpus::TEXT_FIELD.to_owned(),
        bad_lines: BadLines::Refuse,
        special_tokens: Default::default(),
        allow_lossy_tokenizer: true,
        output: root.path().join("prepared"),
    };
    let data = prepare(&config, &mut |_| {}).unwrap();
    // There are no pieces of `end`.
    let loss = data.manifest().text_loss.as_ref().unwrap();
    assert_eq!((loss.n_dropped, loss.n_unknown), (0, 3));
    let rows = Packing::Padded
        .rows(data.train().clone(), 6, data.tokenizer())
        .unwrap();
    let rows: Vec<_> = rows.iter().map(Result::unwrap).collect();
    let tokens: Vec<_> = rows.iter().map(|row| row.tokens.clone()).collect();
    assert_eq!(
        tokens,
        [[2, 5, 6, 10, 3, 0], [2, 5, 6, 7, 8, 3], [2, 9, 3, 0, 0, 0]]
    );
    let n_valid = |row: usize| rows[row].valid.iter().filter(|&&valid| valid).count();
    assert_eq!([n_valid(0), n_valid(1), n_valid(2)], [5, 6, 3]);
}
