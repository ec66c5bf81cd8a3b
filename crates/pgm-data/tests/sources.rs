//! The forms of source files: the same documents give the same tokens, whatever they lie in.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use pgm_data::{
    BadLines, Corpus, DataError, DocumentSplit, PrepareConfig, PrepareProgress, PreparedData,
    TokenizerSpec, ValidationSplit, prepare,
};

const DOCUMENTS: [&str; 4] = [
    "Call me Ishmael.\nSome \"years\" ago.",
    "Der Wal ist weiß \\ schön. 🐋",
    "A dark sea;\tand the whale.",
    "The end.",
];

fn json_lines(field: &str) -> Vec<u8> {
    let line = |text: &&str| serde_json::json!({"id": 1, field: text}).to_string() + "\n";
    DOCUMENTS.iter().map(line).collect::<String>().into_bytes()
}

fn plain() -> Vec<u8> {
    DOCUMENTS.join("\n\n").into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn config(root: &Path, name: &str, bytes: &[u8]) -> PrepareConfig {
    let input = root.join(name);
    fs::write(&input, bytes).unwrap();
    PrepareConfig {
        inputs: vec![input],
        tokenizer: TokenizerSpec::Bpe { vocab_size: 270 },
        validation: ValidationSplit::Documents(1),
        split: DocumentSplit::BlankLines(1.try_into().unwrap()),
        text_field: Corpus::TEXT_FIELD.to_owned(),
        bad_lines: BadLines::Refuse,
        special_tokens: Default::default(),
        allow_lossy_tokenizer: false,
        output: root.join("prepared"),
    }
}

fn run(config: &PrepareConfig) -> Result<(PreparedData, bool), DataError> {
    let mut is_reused = false;
    let data = prepare(config, &mut |step| {
        is_reused |= step == PrepareProgress::Reused;
    })?;
    Ok((data, is_reused))
}

#[test]
fn the_same_documents_give_the_same_shards_in_every_form() {
    let root = tempfile::tempdir().unwrap();
    let (json, plain) = (json_lines("text"), plain());
    let two_members = [gzip(&plain[..20]), gzip(&plain[20..])].concat();
    let two_frames = [zstd(&json[..20]), zstd(&json[20..])].concat();
    let padded = [gzip(&plain), vec![0; 100_000]].concat();
    let marked = ["\u{feff}".as_bytes(), &json].concat();
    let forms: [(&str, Vec<u8>); 10] = [
        ("a.txt", plain.clone()),
        ("a.jsonl", json.clone()),
        ("a.txt.gz", gzip(&plain)),
        ("b.txt.gz", two_members),
        ("c.txt.gz", padded),
        ("a.jsonl.gz", gzip(&json)),
        ("B.JSONL", marked),
        ("b.jsonl.GZ", gzip(&json)),
        ("a.txt.zst", zstd(&plain)),
        ("a.jsonl.zst", two_frames),
    ];
    let mut shards = Vec::new();
    for (name, bytes) in forms {
        let config = config(root.path(), name, &bytes);
        let (data, is_reused) = run(&config).unwrap();
        assert!(!is_reused, "{name}");
        let manifest = data.manifest();
        assert_eq!(manifest.sources[0].n_documents, 4, "{name}");
        assert_eq!(
            manifest.text_field.as_deref(),
            name.to_lowercase().contains("jsonl").then_some("text")
        );
        assert!(run(&config).unwrap().1, "{name}");
        let read = |file: &str| fs::read(config.output.join(file)).unwrap();
        shards.push([
            read("train.tok"),
            read("validation.tok"),
            read("tokenizer.json"),
        ]);
    }
    assert!(shards.iter().all(|shard| *shard == shards[0]));
}

#[test]
fn the_text_field_and_the_ending_are_part_of_what_makes_data_current() {
    let root = tempfile::tempdir().unwrap();
    let json = [json_lines("text"), json_lines("text")].concat();
    let mut first = config(root.path(), "a.jsonl", &json);
    run(&first).unwrap();
    first.text_field = "body".to_owned();
    let error = run(&first).unwrap_err().to_string();
    assert!(error.contains("line 1 of"), "{error}");
    assert!(
        error.contains("has no field `body`, it has `id`, `text`"),
        "{error}"
    );
    // What was there is still there: nothing is removed before all of the text has been read.
    assert!(PreparedData::open(&first.output).is_ok());

    // The same bytes as plain text are one document a paragraph.
    let mut plain = config(root.path(), "a.txt", &json);
    plain.validation = ValidationSplit::Fraction(0.2);
    first.text_field = "text".to_owned();
    assert!(run(&first).unwrap().1);
    assert!(!run(&plain).unwrap().1);
    assert_eq!(run(&plain).unwrap().0.train().n_documents(), 1);
    // Without `.jsonl` files the field does not matter.
    plain.text_field = "body".to_owned();
    assert!(run(&plain).unwrap().1);
}

#[test]
fn damaged_archives_and_bad_lines_are_named_and_nothing_is_made() {
    let root = tempfile::tempdir().unwrap();
    let (gz, zst) = (gzip(&plain()), zstd(&plain()));
    let mut flipped = gz.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let bad_line = [json_lines("text"), b"{\"text\": 5}\n".to_vec()].concat();
    let bad_text = [plain(), b"\xc3(".to_vec()].concat();
    let position = format!("byte {} of its text", plain().len());
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec();
    let cases: [(&str, Vec<u8>, &str); 10] = [
        (
            "a.txt.gz",
            gz[..gz.len() - 4].to_vec(),
            "cut short or damaged: it ends too early;",
        ),
        ("b.txt.gz", flipped, "cut short or damaged"),
        ("c.txt.gz", plain(), "take `.gz` off the name"),
        (
            "d.txt.gz",
            [gz.clone(), b"the end".to_vec()].concat(),
            "bytes that are no gzip stand behind its last member",
        ),
        ("d.txt", lfs, "is a Git LFS pointer"),
        ("b.jsonl", b"<!DOCTYPE html>\n".to_vec(), "is a web page"),
        (
            "a.txt.zst",
            zst[..zst.len() - 5].to_vec(),
            "cut short or damaged: it ends too early;",
        ),
        ("b.txt.zst", Vec::new(), "cut short or damaged"),
        (
            "a.jsonl",
            bad_line,
            "wanted a string; `bad_lines = \"skip\"` leaves such lines out",
        ),
        ("c.txt.zst", zstd(&bad_text), &position),
    ];
    for (name, bytes, wanted) in cases {
        let config = config(root.path(), name, &bytes);
        let error = run(&config).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains(name), "{error}");
        assert!(!config.output.exists(), "{name}");
    }
}

#[test]
fn folders_give_all_forms_and_other_endings_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let names = ["a.txt", "b.jsonl", "c.txt.gz", "d.jsonl.zst"];
    let contents = [
        plain(),
        json_lines("text"),
        gzip(&plain()),
        zstd(&json_lines("text")),
    ];
    for (name, bytes) in names.iter().zip(contents) {
        fs::write(root.path().join(name), bytes).unwrap();
    }
    fs::write(root.path().join("e.csv"), "no").unwrap();
    fs::write(root.path().join("README.md"), "no").unwrap();
    let open = |input: PathBuf| Corpus::open(&[input], DocumentSplit::File);
    let corpus = open(root.path().to_path_buf()).unwrap();
    let files: Vec<_> = corpus
        .files()
        .iter()
        .map(|file| file.file_name().unwrap())
        .collect();
    assert_eq!(files, names);
    assert_eq!(corpus.passed_over(), [root.path().join("e.csv")]);
    let documents: Vec<String> = corpus.documents().map(Result::unwrap).collect();
    assert_eq!(documents.len(), 1 + 4 + 1 + 4);
    assert_eq!(documents[1], DOCUMENTS[0]);
    let error = open(root.path().join("e.csv")).unwrap_err().to_string();
    assert!(
        error.contains("e.csv") && error.contains("`.jsonl`"),
        "{error}"
    );
}

#[test]
fn bad_lines_are_skipped_and_counted_where_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let bad = b"{\"text\": \"cut \\ud83d\"}\n{\"text\": \n{\"title\": \"\\ud83d\", \"text\": \"fine\", \"score\": NaN}\n";
    let json = [json_lines("text"), bad.to_vec()].concat();
    let mut config = config(root.path(), "a.jsonl", &json);
    let error = run(&config).unwrap_err().to_string();
    assert!(
        error.contains("line 5 of") && error.contains("half of a surrogate pair"),
        "{error}"
    );
    config.bad_lines = BadLines::Skip;
    let (data, _) = run(&config).unwrap();
    let manifest = data.manifest();
    let source = &manifest.sources[0];
    assert_eq!((source.n_documents, source.n_skipped_lines), (5, 2));
    assert_eq!(manifest.bad_lines, BadLines::Skip);
    assert!(run(&config).unwrap().1);
    // Other settings are other data, and the refusal is not forgotten.
    config.bad_lines = BadLines::Refuse;
    assert!(run(&config).is_err());

    // Where no line is left, the first one says why.
    config.bad_lines = BadLines::Skip;
    config.text_field = "body".to_owned();
    let error = run(&config).unwrap_err().to_string();
    assert!(
        error.starts_with("line 1 of") && error.contains("has no field `body`"),
        "{error}"
    );
}
