//! Text files of other programs and systems, from the command line: read, or named.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Status, stdout and stderr of `pgm prepare-data` with the configuration `run.toml`.
fn prepare(folder: &Path, args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pgm"))
        .args(["prepare-data", "--config", "run.toml", "--output", "tokens"])
        .args(args)
        .env("NO_COLOR", "1")
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A configuration as Notepad saves it, for the text in `text`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = include_str!("../../../configs/quickstart.toml");
    let config = config.replace("\"bundled\"", "\"text\"");
    assert!(config.contains("\"text\""));
    fs::write(folder.path().join("run.toml"), format!("\u{feff}{config}")).unwrap();
    fs::create_dir(folder.path().join("text")).unwrap();
    folder
}

#[test]
fn files_that_are_passed_over_and_lines_that_are_left_out_are_named() {
    let folder = folder();
    let write = |name: &str, content: &str| {
        fs::write(folder.path().join("text").join(name), content).unwrap();
    };
    write(
        "BOOK.TXT",
        &"The whale is white, and the sea is dark. ".repeat(200),
    );
    write(
        "part.Jsonl",
        "{\"text\": \"One whale.\", \"score\": NaN}\n{\"text\": \n{\"text\": \"\\ud83d\"}\n",
    );
    write("notes.md", "no");
    write("README.md", "no");
    let tokenizer = ["--set", "data.tokenizer=bpe-280"];
    let (is_done, _, stderr) = prepare(folder.path(), &tokenizer);
    assert!(!is_done);
    assert!(stderr.contains("passed over: `text/notes.md`"), "{stderr}");
    assert!(!stderr.contains("README"), "{stderr}");
    let wanted = "error: line 2 of `text/part.Jsonl` is not JSON (EOF while parsing a value, column 8); \
        `bad_lines = \"skip\"` leaves such lines out\n";
    assert!(stderr.contains(wanted), "{stderr}");

    let skipping = [&tokenizer[..], &["--skip-bad-lines"]].concat();
    let (is_done, stdout, stderr) = prepare(folder.path(), &skipping);
    assert!(is_done, "{stderr}");
    assert!(
        stdout.ends_with("(280 ids), 2 bad lines left out\n"),
        "{stdout}"
    );
    assert!(stderr.contains("line 2 of `text/part.Jsonl`"), "{stderr}");
    assert!(stderr.contains("n_lines=2"), "{stderr}");
    let manifest = fs::read_to_string(folder.path().join("tokens/manifest.json")).unwrap();
    assert!(manifest.contains("\"bad_lines\": \"skip\""), "{manifest}");
}

#[test]
fn what_is_no_text_is_named_once() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("text/a.txt"), "The whale is white. ".repeat(300)).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
    fs::write(path("pointer.json"), pointer).unwrap();
    fs::write(path("page.json"), "<!DOCTYPE html>\n<title>404</title>").unwrap();
    for (file, wanted) in [
        (
            "pointer.json",
            "a Git LFS pointer, not the file that it stands for",
        ),
        ("page.json", "a web page (HTML or XML)"),
    ] {
        let tokenizer = format!("data.tokenizer={file}");
        let (is_done, _, stderr) = prepare(folder.path(), &["--set", &tokenizer]);
        assert!(!is_done);
        assert!(
            stderr.contains(&format!("error: `{file}` is {wanted}")),
            "{stderr}"
        );
        assert_eq!(stderr.matches(wanted).count(), 1, "{stderr}");
    }
    // Under the name of a text, a page may be meant.
    let page = format!("<!DOCTYPE html>\n{}", "The whale is white. ".repeat(300));
    fs::write(path("text/a.txt"), page).unwrap();
    let (is_done, _, stderr) = prepare(folder.path(), &["--set", "data.tokenizer=bpe-280"]);
    assert!(is_done, "{stderr}");
    assert!(stderr.contains("begins as a web page"), "{stderr}");
}
