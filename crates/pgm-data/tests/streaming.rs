//! A corpus need not fit into memory. Alone in its file: it looks at the memory of the process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use pgm_data::{
    BadLines, Corpus, DocumentSplit, PrepareConfig, TokenizerSpec, ValidationSplit, prepare,
};

/// The most memory that this process has had, in bytes.
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// Writes documents of 19 kB, 1000 tokens each; gives the bytes of their text.
fn write_lines(path: &Path, n_documents: usize) -> usize {
    let text = " disproportionately".repeat(1000);
    let line = format!("{{\"text\": \"{text}\"}}\n");
    let file = File::create(path).unwrap();
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    for _ in 0..n_documents {
        file.write_all(line.as_bytes()).unwrap();
    }
    file.finish().unwrap();
    n_documents * text.len()
}

#[test]
fn a_corpus_takes_less_memory_than_its_text() {
    let root = tempfile::tempdir().unwrap();
    let input = root.path().join("lines.jsonl.gz");
    let mut config = PrepareConfig {
        inputs: vec![input.clone()],
        tokenizer: TokenizerSpec::Gpt2,
        validation: ValidationSplit::Documents(1),
        split: DocumentSplit::File,
        text_field: Corpus::TEXT_FIELD.to_owned(),
        bad_lines: BadLines::Refuse,
        special_tokens: Default::default(),
        allow_lossy_tokenizer: false,
        output: root.path().join("few"),
    };
    // A first run of some batches takes what does not grow: tables, buffers, threads.
    write_lines(&input, 600);
    prepare(&config, &mut |_| {}).unwrap();

    let n_bytes = write_lines(&input, 5000);
    config.output = root.path().join("many");
    let before = peak_memory();
    let data = prepare(&config, &mut |_| {}).unwrap();
    assert_eq!(data.train().n_tokens(), 4999 * 1000);
    let growth = peak_memory() - before;
    // The shard, which is mapped, has 10 MB.
    assert!(growth < n_bytes / 3, "{growth} bytes for {n_bytes} of text");
}
