//! `pgm eval-choice` on tiny models.

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

fn json(folder: &Path, args: &[&str]) -> Value {
    let all = [&["eval-choice", "--json"], args].concat();
    serde_json::from_str(&succeeds(folder, &all)).expect("JSON")
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

/// A folder with trained models and questions.
fn folder(objectives: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("run.toml"), RUN).expect("a file");
    let text: String = (0..900)
        .map(|i| ["The whale. ", "Call me! ", "A sea ; "][i % 3])
        .collect();
    std::fs::write(path("text.txt"), text).expect("a file");
    let choices: String = (0..11)
        .map(|i| {
            format!(
                "{{\"context\": \"{}Call\", \"choices\": [\"me\", \"whale.\", \"the sea\"], \"answer\": {}}}\n",
                "A sea. ".repeat(i % 3),
                i % 3
            )
        })
        .collect();
    std::fs::write(path("choices.jsonl"), choices).expect("a file");
    let words = "{\"text\": \"Call me! The whale\"}\n{\"context\": \"A\", \"target\": \"sea\"}\n";
    std::fs::write(path("words.jsonl"), words).expect("a file");
    for objective in objectives {
        succeeds(
            folder.path(),
            &[
                "train",
                "--config",
                "run.toml",
                "--objective",
                objective,
                "--output",
                objective,
                "--plain",
            ],
        );
    }
    folder
}

const CHOICES: [&str; 4] = ["--questions", "choices.jsonl", "--draws", "3"];

#[test]
fn an_evaluation_goes_on_where_it_was_and_gives_the_same_numbers() {
    let folder = folder(&["pgm"]);
    let with = |args: &[&str]| {
        json(
            folder.path(),
            &[&CHOICES[..], &["--run", "pgm"], args].concat(),
        )
    };
    let whole = with(&["--results", "whole", "--batch-size", "64"]);
    let report = &whole["report"];
    assert_eq!(report["n_questions"], 11);
    assert!(report["accuracy"]["standard_error"].is_number(), "{report}");
    assert!(report["undecided"].is_number(), "{report}");
    assert!(
        report["monte_carlo_error"]
            .as_f64()
            .is_some_and(|error| error > 0.0)
    );
    assert_eq!(with(&["--n", "2"])["report"]["n_questions"], 2);
    let path = with(&["--n", "2"])["results"]
        .as_str()
        .expect("a path")
        .to_owned();
    let path = folder.path().join(path);
    let before = std::fs::read_to_string(&path).unwrap();
    let parts = with(&["--batch-size", "3"]);
    let after = std::fs::read_to_string(&path).unwrap();
    assert!(after.starts_with(&before) && after.lines().count() == 12);
    for key in ["accuracy", "normalized_accuracy", "network_evaluations"] {
        assert_eq!(parts["report"][key], report[key], "{key}");
    }
    let error = |report: &Value| report["monte_carlo_error"].as_f64().unwrap();
    assert!((error(&parts["report"]) / error(report) - 1.0).abs() < 1e-3);
}

#[test]
fn every_family_answers_both_kinds_of_questions() {
    let folder = folder(&["mdlm", "ar"]);
    for run in ["mdlm", "ar"] {
        let text = succeeds(
            folder.path(),
            &[&["eval-choice", "--run", run], &CHOICES[..]].concat(),
        );
        assert!(text.contains("accuracy, normalised by bytes"), "{text}");
        assert_eq!(
            text.contains("likelihoods are exact"),
            run == "ar",
            "{text}"
        );
        let report = json(folder.path(), &["--run", run, "--questions", "words.jsonl"]);
        let report = &report["report"];
        assert!(report["greedy_accuracy"]["value"].is_number(), "{report}");
        assert_eq!(report["accuracy"], Value::Null);
        assert!(
            report["answer_perplexity"]
                .as_f64()
                .is_some_and(|value| value > 1.0)
        );
        assert_eq!(report["n_draws"], if run == "ar" { 0 } else { 32 });
    }
}

#[test]
fn what_cannot_be_answered_is_named() {
    let folder = folder(&[]);
    let refused = |args: &[&str]| {
        let output = pgm(folder.path(), &[&["eval-choice"], args].concat());
        assert!(!output.status.success());
        stderr(&output)
    };
    let error = refused(&["--questions", "absent.jsonl"]);
    assert!(error.contains("`absent.jsonl` does not exist"), "{error}");
    std::fs::write(folder.path().join("bad.jsonl"), "{\"question\": 1}\n").unwrap();
    let error = refused(&["--questions", "bad.jsonl"]);
    assert!(
        error.contains("line 1 is no question: it has the fields `question`; wanted `{\"context\""),
        "{error}"
    );
    let error = refused(&["--questions", "choices.jsonl", "--n", "12"]);
    assert!(error.contains("holds 11 questions"), "{error}");
    let error = refused(&["--questions", "choices.jsonl", "--run", "absent"]);
    assert!(error.contains("`absent`"), "{error}");
}
