//! `pgm eval-ppl` on tiny models.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn pgm(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgm"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("pgm starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(folder: &Path, args: &[&str]) -> String {
    let output = pgm(folder, args);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const RUN: &str = r#"
name = "tiny"
[data]
inputs = ["text.txt"]
tokenizer = "bpe-270"
seq_len = 32
[model]
d_model = 16
n_heads = 2
n_encoder_blocks = 1
n_decoder_blocks = 1
n_blocks = 1
cond_dim = 8
[training]
n_steps = 2
batch_size = 4
[evaluation]
n_sequences = 4
n_samples_at_end = 1
"#;

/// A folder with trained models, each in a folder of the name of its objective, and other text.
fn folder(objectives: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("run.toml"), RUN).expect("a file");
    let text: String = (0..900)
        .map(|i| ["The whale. ", "Call me! ", "A sea ; "][(i * i + i / 7) % 3])
        .collect();
    std::fs::write(path("text.txt"), text).expect("a file");
    std::fs::write(path("other.txt"), "A ship , the whale ! ".repeat(60)).expect("a file");
    for objective in objectives {
        let train = ["train", "--config", "run.toml", "--plain"];
        let named = ["--objective", objective, "--output", objective];
        succeeds(folder.path(), &[train, named].concat());
    }
    folder
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let all = [&["eval-ppl", "--json"], args].concat();
    serde_json::from_str(&succeeds(folder, &all)).expect("JSON")
}

fn nll(value: &Value) -> f64 {
    value["report"]["nll"].as_f64().expect("a number")
}

#[test]
fn an_evaluation_goes_on_where_it_was_and_gives_the_same_numbers() {
    let folder = folder(&["pgm"]);
    let with = |args: &[&str]| {
        let common = ["--run", "pgm", "--text", "other.txt", "--draws", "2"];
        json(folder.path(), &[&common[..], args].concat())
    };
    let whole = with(&["--results", "whole", "--batch-size", "4"]);
    let n = whole["report"]["n_sequences"].as_u64().unwrap();
    assert!(n > 9, "{whole}");
    let few = with(&["--batch-size", "4", "--n", "8"]);
    assert_eq!(few["report"]["n_sequences"], 8);
    let path = folder.path().join(few["results"].as_str().unwrap());
    assert!(path.starts_with(folder.path().join("pgm/perplexities")));
    let before = std::fs::read_to_string(&path).unwrap();
    assert_eq!(before.lines().count(), 9);
    let continued = with(&["--batch-size", "4"]);
    let after = std::fs::read_to_string(&path).unwrap();
    assert!(after.starts_with(&before));
    assert_eq!(after.lines().count() as u64, 1 + n);
    // Two batches of four were cut off: the very same numbers.
    assert_eq!(continued["report"], whole["report"]);
    assert_eq!(continued["settings"], whole["settings"]);
    // Other batches, and a cut within one: the same but for rounding.
    for args in [
        &["--results", "other", "--batch-size", "3", "--n", "5"][..],
        &["--results", "other", "--batch-size", "7"],
        &["--results", "one", "--batch-size", "1"],
    ] {
        let other = with(args);
        if other["report"]["n_sequences"] == n {
            assert!((nll(&other) / nll(&whole) - 1.0).abs() < 1e-5);
        }
    }
    // Other draws are another evaluation.
    let seed = with(&["--seed", "2"]);
    assert_ne!(seed["results"], continued["results"]);
    assert_ne!(nll(&seed), nll(&continued));
}

#[test]
fn a_number_comes_with_how_it_was_made() {
    let folder = folder(&["mdlm", "ar"]);
    let held_out = json(folder.path(), &["--run", "mdlm", "--draws", "2"]);
    let settings = &held_out["settings"];
    assert_eq!(settings["text"]["source"], "held-out");
    assert_eq!(settings["text"]["packing"], "concatenated");
    assert_eq!(settings["weights"], "averaged");
    assert_eq!(settings["checkpoint_step"], 2);
    assert_eq!(
        (&settings["n_draws"], &settings["seed"]),
        (&2.into(), &1.into())
    );
    let raw = json(folder.path(), &["--run", "mdlm", "--raw-weights"]);
    assert_eq!(raw["settings"]["weights"], "raw");
    assert_ne!(
        raw["settings"]["weights_sha256"],
        settings["weights_sha256"]
    );
    assert_eq!(
        held_out["tokens_counted"],
        "all but padding, hidden or not, BOS and EOS among them"
    );

    let other = ["--text", "other.txt", "--detokenizer", "wikitext"];
    let exact = json(folder.path(), &[&["--run", "ar"], &other[..]].concat());
    let text = &exact["settings"]["text"];
    assert_eq!(text["files"][0]["path"], "other.txt");
    assert_eq!(text["files"][0]["n_bytes"], 21 * 60);
    assert_eq!(text["files"][0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(text["detokenizer"], "wikitext");
    let of = |key: &str| text[key].as_u64().unwrap();
    // One document with its EOS, in rows with 30 tokens of text.
    let stream = of("n_tokens") + of("n_documents");
    assert_eq!(of("n_rows"), stream / 30);
    assert_eq!(of("n_dropped_tokens"), stream % 30);
    // All but the first of each row.
    assert_eq!(exact["report"]["n_tokens"], of("n_rows") * 31);
    assert_eq!(exact["report"]["n_draws"], 0);
    assert!(exact["report"]["nll_standard_error"].as_f64().unwrap() > 0.0);
    assert!(
        exact["report"]["perplexity_standard_error"]
            .as_f64()
            .unwrap()
            > 0.0
    );

    let text = succeeds(
        folder.path(),
        &[&["eval-ppl", "--run", "mdlm"], &other[..]].concat(),
    );
    for words in [
        "an upper bound; seed of the draws 1",
        "1 draw of hidden tokens each",
        "`other.txt` (1,260 bytes, SHA-256 ",
        "detokenizer wikitext",
        "of 32 tokens: BOS, text, EOS; documents follow each other with EOS between; no overlap; the last ",
        "all but padding, hidden or not, BOS and EOS among them",
        "averaged, checkpoint of step 2 of `mdlm`",
        "mdlm/perplexities/",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let none = ["--text", "other.txt", "--detokenizer", "ag-news"];
    let text = succeeds(
        folder.path(),
        &[&["eval-ppl", "--run", "mdlm"], &none[..]].concat(),
    );
    assert!(text.contains("no detokenizer"), "{text}");
    // Tokens of other texts are in other files: evaluations at the same time do not mix them up.
    let entries = std::fs::read_dir(folder.path().join("mdlm/perplexities")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let tokens = paths.filter(|path| path.extension().is_some_and(|ending| ending == "tok"));
    assert_eq!(tokens.count(), 2);
    let output = pgm(folder.path(), &["eval-ppl", "--run", "ar", "--n", "5000"]);
    let error = stderr(&output);
    assert!(error.contains("--n is 5000, the text has "), "{error}");
}
