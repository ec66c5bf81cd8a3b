//! Two processes at the same work: neither destroys what the other writes.
#![cfg(unix)]

mod tiny_weights;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tiny_weights::{golden, small_tokenizer};

const CONFIG: &str = r#"
name = "twice"
[data]
inputs = ["text.txt"]
tokenizer = "bpe-270"
seq_len = 16
[model]
d_model = 16
n_heads = 2
n_encoder_blocks = 1
n_decoder_blocks = 1
cond_dim = 8
[optimizer]
learning_rate = 1e-2
warmup_steps = 5
[training]
n_steps = 200
batch_size = 4
log_every = 1
checkpoint_every = 5
[evaluation]
every = 50
n_sequences = 8
n_samples_at_end = 2
[sampling]
n_steps = 4
"#;

fn pgm(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgm"));
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(folder: &Path, args: &[&str]) -> Child {
    pgm(folder, args).spawn().expect("pgm starts")
}

fn send(child: &Child, signal: Signal) {
    let id = Pid::from_raw(child.id().try_into().expect("an id"));
    kill(id, signal).expect("it runs");
}

/// Waits until something is the case, then stops the process in the middle of its work.
fn stop_when(child: &mut Child, is_so: &dyn Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not get there");
        let state = child.try_wait().expect("its state");
        assert!(state.is_none(), "it ended too soon: {state:?}");
        std::thread::yield_now();
    }
    send(child, Signal::SIGSTOP);
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Lines of the metrics without times.
fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let records = text.lines().map(|line| serde_json::from_str(line).ok());
    records
        .flatten()
        .map(|mut record: Value| {
            let fields = record.as_object_mut().expect("an object");
            fields.remove("seconds");
            fields.remove("tokens_per_second");
            record
        })
        .collect()
}

fn folder_with_text() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text: String = (0..900)
        .map(|i| ["The whale is white. ", "Call me! ", "A dark sea; "][(i * i + i / 7) % 3])
        .collect();
    std::fs::write(folder.path().join("text.txt"), text).expect("the text");
    std::fs::write(folder.path().join("run.toml"), CONFIG).expect("the configuration");
    folder
}

#[test]
fn a_run_is_trained_by_one_process_and_read_by_others() {
    let temporary = folder_with_text();
    let folder = temporary.path();
    let train = |output| ["train", "--config", "run.toml", "--output", output];
    let whole = start(folder, &train("whole")).wait_with_output();
    assert!(whole.expect("it ends").status.success());

    let run = folder.join("run");
    let mut first = start(folder, &train("run"));
    stop_when(&mut first, &|| metrics(&run).len() > 20);
    let content = || {
        let metrics = std::fs::read(run.join("metrics.jsonl")).expect("metrics");
        let history = std::fs::read(run.join("history.jsonl")).expect("the history");
        let checkpoints = std::fs::read_dir(run.join("checkpoints")).expect("checkpoints");
        let mut names: Vec<_> = checkpoints
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        (metrics, history, names)
    };
    // As if it were stopped during a save.
    let unfinished = run.join(format!("checkpoints/.step-00000999.{}-0.tmp", first.id()));
    std::fs::create_dir(&unfinished).expect("a folder");
    let before = content();

    let restart = [&train("run")[..], &["--restart"]].concat();
    let distill = ["distill", "--teacher", "whole", "--output", "run"];
    let distill_anew = [&distill[..], &["--restart"]].concat();
    for second in [&train("run")[..], &restart, &distill, &distill_anew] {
        let output = pgm(folder, second).output().expect("it ends");
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{second:?}: {error}");
        let holder = format!("process {}", first.id());
        for words in [
            "`run` is in use",
            &holder,
            "train --config run.toml",
            "--output",
        ] {
            assert!(error.contains(words), "{second:?}: {error}");
        }
        assert_eq!(error.matches("in use").count(), 1, "{error}");
        assert_eq!(content(), before, "{second:?}");
    }
    let convert = [
        "convert",
        "run",
        "--to",
        "safetensors",
        "--output",
        "weights",
    ];
    let sample = ["sample", "--run", "run", "--n", "1"];
    let evaluate = ["eval-ppl", "--run", "run", "--n", "2"];
    for reader in [&convert[..], &sample, &evaluate, &["info", "run"]] {
        let output = pgm(folder, reader).output().expect("it ends");
        assert!(output.status.success(), "{reader:?}: {}", stderr(&output));
    }

    send(&first, Signal::SIGCONT);
    let output = first.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(metrics(&run), metrics(&folder.join("whole")));
    // Nobody has it now, and what was left behind goes.
    let output = pgm(folder, &train("run")).output().expect("it ends");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!unfinished.exists());
}

#[test]
fn the_lock_of_a_killed_process_is_gone() {
    let temporary = folder_with_text();
    let folder = temporary.path();
    let train = ["train", "--config", "run.toml", "--output", "run"];
    let mut first = start(folder, &train);
    stop_when(&mut first, &|| metrics(&folder.join("run")).len() > 20);
    first.kill().expect("it runs");
    first.wait().expect("it is gone");
    let output = pgm(folder, &train).output().expect("it ends");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        metrics(&folder.join("run")).last().expect("metrics")["step"],
        200
    );
}

/// A folder with weights, a text of some 200 rows and 200 questions.
fn folder_with_weights() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let weights = golden().join("weights_pgm_linear_n025.safetensors");
    std::fs::copy(weights, path("weights.safetensors")).expect("a file");
    small_tokenizer(&path("tokenizer.json"), 100);
    let sentence = |i: usize| format!("The whale is {} fathoms deep. ", i * i);
    let text: String = (0..200).map(sentence).collect();
    std::fs::write(path("text.txt"), text).expect("a file");
    let question = |i: usize| {
        format!(
            "{{\"context\": \"Depth {i}:\", \"choices\": [\"near\", \"{i} fathoms\"], \"answer\": 0}}\n"
        )
    };
    let questions: String = (0..200).map(question).collect();
    std::fs::write(path("questions.jsonl"), questions).expect("a file");
    folder
}

/// The file of the results, once there is one.
fn results(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
}

/// Whole lines of the results, with that of the settings.
fn lines(folder: &Path) -> Vec<String> {
    let text = results(folder).map(std::fs::read_to_string);
    let text = text
        .unwrap_or_else(|| Ok(String::new()))
        .unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Reads what a process logs until it says that it waits for the process `holder`; the rest goes nowhere.
fn wait_until_it_waits(child: &mut Child, holder: u32) {
    let log = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut lines = log.lines().map_while(Result::ok);
    let waiting = lines.find(|line| line.contains("waiting for another process"));
    let waiting = waiting.expect("it waits");
    assert!(waiting.contains(&format!("process {holder}")), "{waiting}");
    std::thread::spawn(move || lines.for_each(drop));
}

/// The report of a process, without times.
fn report(child: Child) -> Value {
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", stderr(&output));
    let mut printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    printed["report"]["seconds"] = Value::Null;
    printed["report"].take()
}

/// The arguments of an evaluation of 100 rows or questions, with its folder for results.
fn with<'a>(args: &[&'a str], results: &'a str) -> Vec<&'a str> {
    let model = ["--weights", "weights.safetensors", "--n-heads", "4"];
    let sizes = [
        "--seq-len",
        "32",
        "--batch-size",
        "1",
        "--n",
        "100",
        "--json",
    ];
    [args, &model, &sizes, &["--results", results]].concat()
}

/// Two evaluations at a time: the second waits, whether the first ends by itself or is killed, and both have the numbers
/// of one that is alone.
fn waits(args: &[&str]) {
    let temporary = folder_with_weights();
    let folder = temporary.path();
    let alone = report(start(folder, &with(args, "alone")));
    let n_lines = lines(&folder.join("alone")).len();
    for is_killed in [false, true] {
        let name = format!("killed-{is_killed}");
        let args = with(args, &name);
        let mut first = start(folder, &args);
        stop_when(&mut first, &|| lines(&folder.join(&name)).len() > 1);
        let mut second = start(folder, &args);
        wait_until_it_waits(&mut second, first.id());
        if is_killed {
            first.kill().expect("it runs");
            first.wait().expect("it is gone");
        } else {
            send(&first, Signal::SIGCONT);
            assert_eq!(report(first), alone);
        }
        assert_eq!(report(second), alone);
        assert_eq!(lines(&folder.join(&name)).len(), n_lines);
        // What they left can be read again.
        assert_eq!(report(start(folder, &args)), alone);
    }
}

#[test]
fn a_second_perplexity_waits() {
    waits(&["eval-ppl", "--text", "text.txt", "--draws", "8"]);
}

#[test]
fn second_questions_wait() {
    waits(&["eval-choice", "--questions", "questions.jsonl"]);
}
