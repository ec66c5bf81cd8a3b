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

#[test]
fn the_published_likelihood_is_had_by_its_name() {
    let folder = folder(&["pgm", "ar"]);
    let published = [&CHOICES[..], &["--likelihood", "published", "--run"]].concat();
    let with = |args: &[&str]| json(folder.path(), &[&CHOICES[..], args].concat());
    let usual = with(&["--run", "pgm"]);
    let found = with(&["--run", "pgm", "--likelihood", "published"]);
    assert_eq!(usual["settings"]["likelihood"], "conditional");
    assert_eq!(found["settings"]["likelihood"], "published");
    // Other likelihoods have another file, and every draw goes through the network.
    assert_ne!(usual["results"], found["results"]);
    assert_eq!(found["report"]["network_evaluations"], 11 * 3 * 3);
    let text = succeeds(
        folder.path(),
        &[&["eval-choice"], &published[..], &["pgm"]].concat(),
    );
    assert!(text.contains("nats a token (standard error)"), "{text}");
    let words = json(
        folder.path(),
        &[
            "--run",
            "pgm",
            "--questions",
            "words.jsonl",
            "--likelihood",
            "published",
        ],
    );
    assert!(words["report"]["greedy_accuracy"]["value"].is_number());
    let output = pgm(
        folder.path(),
        &[&["eval-choice"], &published[..], &["ar"]].concat(),
    );
    assert!(!output.status.success());
    let error = stderr(&output);
    assert!(error.contains("take `conditional`"), "{error}");
}

#[test]
fn several_right_answers_have_their_probability_together() {
    let folder = folder(&["ar"]);
    let choices = ["The whale.", "Call me!", "A sea"];
    let arguments: String = choices
        .map(|choice| format!("[\"Q:\", \" {choice}\"]"))
        .join(", ");
    let doc = format!("{{\"mc2_targets\": {{\"choices\": {choices:?}, \"labels\": [1, 1, 0]}}}}");
    let line = format!("{{\"doc\": {doc}, \"target\": \"0\", \"arguments\": [{arguments}]}}\n");
    std::fs::write(folder.path().join("mc2.jsonl"), line.repeat(2)).unwrap();
    let found = json(folder.path(), &["--run", "ar", "--questions", "mc2.jsonl"]);
    let path = folder
        .path()
        .join(found["results"].as_str().expect("a path"));
    let results = std::fs::read_to_string(path).unwrap();
    let answered: Value = serde_json::from_str(results.lines().nth(1).unwrap()).unwrap();
    assert_eq!(answered["right"], serde_json::json!([0, 1]));
    let nats = answered["log_likelihoods"].as_array().unwrap().iter();
    let likely: Vec<f64> = nats.map(|nats| nats.as_f64().unwrap().exp()).collect();
    let expected = (likely[0] + likely[1]) / likely.iter().sum::<f64>();
    let probability = &found["report"]["right_probability"];
    let value = probability["value"].as_f64().unwrap();
    assert!((value - expected).abs() < 1e-9, "{value} {expected}");
    let text = succeeds(
        folder.path(),
        &["eval-choice", "--run", "ar", "--questions", "mc2.jsonl"],
    );
    assert!(
        text.starts_with("probability of the right answers "),
        "{text}"
    );
}

/// A tokenizer of BERT's kind, which makes no token of characters that are no text.
const BERT: &str = r###"{
  "version": "1.0",
  "added_tokens": [
    {"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
    {"id": 1, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
    {"id": 2, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
    {"id": 3, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
    {"id": 4, "content": "[MASK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
  ],
  "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
  "model": {
    "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
    "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "the": 5, "whale": 6, "call": 7, "me": 8,
      "a": 9, "sea": 10, ".": 11, "!": 12, ";": 13}
  }
}"###;

#[test]
fn answers_without_tokens_are_refused_by_every_model() {
    let folder = folder(&[]);
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("bert.json"), BERT).unwrap();
    let run = RUN.replace("bpe-270", "bert.json");
    std::fs::write(path("run.toml"), run).unwrap();
    let questions = "{\"context\": \"Call\", \"choices\": [\"me\", \"the sea\"], \"answer\": 0}\n\
        {\"context\": \"Call\", \"choices\": [\"me\", \"\u{fffd}\"], \"answer\": 0}\n";
    std::fs::write(path("lost.jsonl"), questions).unwrap();
    for objective in ["pgm", "mdlm", "ar"] {
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
        for likelihood in ["conditional", "published"] {
            let args = [
                "eval-choice",
                "--run",
                objective,
                "--questions",
                "lost.jsonl",
            ];
            let output = pgm(
                folder.path(),
                &[&args[..], &["--likelihood", likelihood]].concat(),
            );
            let error = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert!(
                error.contains(
                    "`lost.jsonl`: line 2: the tokenizer makes no token of the answer `\\u{fffd}`"
                ),
                "{error}"
            );
        }
    }
}
