//! Tokenizers that do not keep the text are refused, unless they are asked for.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use pgm_data::{
    Corpus, DataError, DocumentSplit, PrepareConfig, PrepareProgress, PreparedData, TokenizerSpec,
    ValidationSplit, prepare,
};
use serde_json::{Value, json};

/// A BPE of small letters and the space, without an unknown token and without bytes.
fn letters() -> Value {
    let letters = ('a'..='z').chain([' ']).zip(1..);
    let vocab = [("<|endoftext|>".to_owned(), json!(0))]
        .into_iter()
        .chain(letters.map(|(letter, id)| (letter.to_string(), json!(id))));
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": {"type": "Fuse"},
        "added_tokens": [{"id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab.collect::<serde_json::Map<_, _>>(), "merges": []}
    })
}

fn config(root: &Path, tokenizer: &Value, documents: [&str; 3]) -> PrepareConfig {
    let inputs = root.join("text.jsonl");
    let lines = documents.map(|text| json!({ "text": text }).to_string());
    fs::write(&inputs, lines.join("\n")).unwrap();
    let path = root.join("letters.json");
    fs::write(&path, tokenizer.to_string()).unwrap();
    PrepareConfig {
        inputs: vec![inputs],
        tokenizer: TokenizerSpec::File(path),
        validation: ValidationSplit::Documents(1),
        split: DocumentSplit::File,
        text_field: Corpus::TEXT_FIELD.to_owned(),
        special_tokens: Default::default(),
        allow_lossy_tokenizer: false,
        bad_lines: Default::default(),
        output: root.join("prepared"),
    }
}

fn run(config: &PrepareConfig) -> Result<PreparedData, DataError> {
    prepare(config, &mut |_| {})
}

#[test]
fn lost_characters_are_counted_and_refused_unless_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let documents = ["a café", "naïve 日本", "the whale é"];
    let mut config = config(root.path(), &letters(), documents);
    let error = run(&config).unwrap_err().to_string();
    // é, ï, 日, 本 and é.
    assert!(error.contains("5 characters dropped"), "{error}");
    assert!(error.contains("`é`, `ï`, `日`, `本`"), "{error}");
    assert!(
        error.contains("`data.allow_lossy_tokenizer = true`"),
        "{error}"
    );
    // Nothing is left that looks finished.
    assert!(PreparedData::open(&config.output).is_err());

    config.allow_lossy_tokenizer = true;
    let data = run(&config).unwrap();
    let loss = data.manifest().text_loss.clone().unwrap();
    assert_eq!((loss.n_dropped, loss.n_unknown, loss.n_invented), (5, 0, 0));
    let text = data.tokenizer().decode(&data.train().document(0)).unwrap();
    assert_eq!(text, "a caf");
    let mut reused = false;
    prepare(&config, &mut |event| {
        reused |= event == PrepareProgress::Reused;
    })
    .unwrap();
    assert!(reused);
    // Who does not ask for it gets the same answer from what another run has prepared.
    config.allow_lossy_tokenizer = false;
    let again = run(&config).unwrap_err().to_string();
    assert!(again.contains("5 characters dropped"), "{again}");
}

#[test]
fn a_tokenizer_that_keeps_the_text_is_used_without_a_word() {
    let root = tempfile::tempdir().unwrap();
    let documents = ["a cafe", "naive text", "the whale"];
    let config = config(root.path(), &letters(), documents);
    let data = run(&config).unwrap();
    assert_eq!(data.manifest().text_loss, None);
    assert_eq!(data.train().n_tokens(), 6 + 10);
}

#[test]
fn a_decoder_that_spells_other_text_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut tokenizer = letters();
    tokenizer["decoder"] = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "xy"});
    let documents = ["a cafe", "naive text", "the whale"];
    let config = config(root.path(), &tokenizer, documents);
    let error = run(&config).unwrap_err().to_string();
    // Three in the two to train on and one in the last become four and four.
    assert!(
        error.contains("4 characters dropped and 8 invented"),
        "{error}"
    );
}

#[test]
fn dropout_does_not_make_tokens_random() {
    let root = tempfile::tempdir().unwrap();
    let mut tokenizer = letters();
    tokenizer["model"]["dropout"] = json!(0.5);
    tokenizer["model"]["merges"] = json!(["t h", "th e"]);
    tokenizer["model"]["vocab"]["th"] = json!(28);
    tokenizer["model"]["vocab"]["the"] = json!(29);
    let text = "the the the the the the the the";
    let mut config = config(root.path(), &tokenizer, [text, text, text]);
    let first = run(&config).unwrap();
    // Eight words and seven spaces.
    assert_eq!(first.train().document(0).len(), 8 + 7);
    config.output = root.path().join("again");
    let second = run(&config).unwrap();
    assert_eq!(first.train().checksum(), second.train().checksum());
}

#[test]
fn special_tokens_are_part_of_what_was_prepared() {
    let root = tempfile::tempdir().unwrap();
    let documents = ["a cafe", "naive text", "the whale"];
    let mut config = config(root.path(), &letters(), documents);
    let first = run(&config).unwrap();
    config.special_tokens = "eos=z".parse().unwrap();
    let second = run(&config).unwrap();
    assert_eq!(
        (second.tokenizer().bos_id(), second.tokenizer().eos_id()),
        (0, 26)
    );
    assert_ne!(first.manifest().content_key, second.manifest().content_key);
    // The folder alone tells them.
    fs::remove_file(root.path().join("letters.json")).unwrap();
    let opened = PreparedData::open(&config.output).unwrap();
    assert_eq!(
        opened.tokenizer().special_tokens(),
        second.tokenizer().special_tokens()
    );
}
