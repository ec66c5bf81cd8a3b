//! Evaluations that Ctrl-C stops, and that go on.
#![cfg(unix)]

mod tiny_weights;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tiny_weights::{golden, small_tokenizer};

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgm"));
    command
        .args(args)
        .args(["--weights", "weights.safetensors", "--n-heads", "4"])
        .args(["--seq-len", "32", "--batch-size", "1", "--json"])
        .current_dir(folder);
    command
}

/// A folder with weights, a text of some 500 rows and 500 questions.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let weights = golden().join("weights_pgm_linear_n025.safetensors");
    std::fs::copy(weights, path("weights.safetensors")).expect("a file");
    small_tokenizer(&path("tokenizer.json"), 100);
    let sentence = |i: usize| format!("The whale is {} fathoms deep. ", i * i);
    let text: String = (0..500).map(sentence).collect();
    std::fs::write(path("text.txt"), text).expect("a file");
    let question = |i: usize| {
        format!(
            "{{\"context\": \"Depth {i}:\", \"choices\": [\"near\", \"{i} fathoms\"], \"answer\": 0}}\n"
        )
    };
    std::fs::write(
        path("questions.jsonl"),
        (0..500).map(question).collect::<String>(),
    )
    .expect("a file");
    folder
}

/// The file of the results, once there is one.
fn results(folder: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?;
    entries.find_map(|entry| {
        let path = entry.ok()?.path();
        path.extension()
            .is_some_and(|ending| ending == "jsonl")
            .then_some(path)
    })
}

/// Results, without the line of the settings.
fn n_results(folder: &Path) -> usize {
    let text = results(folder).map(std::fs::read_to_string);
    let n_lines = text.map_or(0, |text| text.unwrap_or_default().lines().count());
    n_lines.saturating_sub(1)
}

/// Starts a command, sends it a SIGINT as soon as it has results, and waits for its end.
fn interrupt(folder: &Path, args: &[&str], results: &Path) -> Output {
    let mut child = command(folder, args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pgm starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    while n_results(results) == 0 {
        assert!(Instant::now() < deadline, "no results");
        let state = child.try_wait().expect("its state");
        assert!(
            state.is_none(),
            "it ended before it was interrupted: {state:?}"
        );
        std::thread::yield_now();
    }
    let id = Pid::from_raw(child.id().try_into().expect("an id"));
    kill(id, Signal::SIGINT).expect("it runs");
    child.wait_with_output().expect("it ends")
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let output = command(folder, args).output().expect("pgm starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Interrupts a command and has it go on with some results more; they are those of an undisturbed call.
fn goes_on(args: &[&str], what: &str, timeless: &dyn Fn(&mut Value)) {
    let temporary = folder();
    let folder = temporary.path();
    let cut = [args, &["--results", "cut"]].concat();
    let all = [&cut[..], &["--n", "400"]].concat();
    let output = interrupt(folder, &all, &folder.join("cut"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        output.stdout.is_empty(),
        "an interrupted call has no result"
    );
    let n_done = n_results(&folder.join("cut"));
    let line = format!("stopped after {n_done} of 400 {what}; the same command goes on");
    assert!(stderr.contains(&line), "{stderr}");
    let content = || {
        let path = results(&folder.join("cut")).expect("results");
        std::fs::read_to_string(path).expect("results")
    };
    let before = content();

    let n = (n_done + 5).to_string();
    let rest = json(folder, &[&cut[..], &["--n", &n]].concat());
    assert!(content().starts_with(&before));
    assert_eq!(n_results(&folder.join("cut")), n_done + 5);
    let whole = json(folder, &[args, &["--results", "whole", "--n", &n]].concat());
    let [rest, whole] = [rest, whole].map(|mut report| {
        let report = &mut report["report"];
        timeless(report);
        report.take()
    });
    assert_eq!(rest, whole);
}

#[test]
fn an_interrupted_perplexity_goes_on() {
    let args = ["eval-ppl", "--text", "text.txt", "--draws", "8"];
    goes_on(&args, "sequences", &|_| {});
}

#[test]
fn interrupted_questions_go_on() {
    let args = ["eval-choice", "--questions", "questions.jsonl"];
    let timeless = |report: &mut Value| {
        report["seconds"] = Value::Null;
    };
    goes_on(&args, "questions", &timeless);
}
