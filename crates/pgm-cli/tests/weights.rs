//! Commands on tiny weights in the form of the authors'.

mod tiny_weights;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tiny_weights::{golden, small_tokenizer};

fn pgm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgm"))
        .args(args)
        .output()
        .expect("pgm starts")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn a_published_checkpoint_goes_through_all_formats() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let checkpoint = golden().join("checkpoint_pgm.ckpt");
    let checkpoint = checkpoint.to_str().unwrap();
    let (first, second, third) = (file("a.safetensors"), file("b.bpk"), file("c.safetensors"));

    // Its heads have 4 features, not 64.
    let convert = [
        "convert",
        checkpoint,
        "--to",
        "published",
        "--output",
        &first,
    ];
    let error = stderr(&pgm(&convert));
    assert!(error.contains("give `n_heads`"), "{error}");
    let with_heads = [&convert[..], &["--n-heads", "2"]].concat();
    let text = stdout(&pgm(&with_heads));
    assert!(text.contains("averaged weights"), "{text}");
    let error = stderr(&pgm(&with_heads));
    assert!(error.contains("--force"), "{error}");
    let forced = [&with_heads[..], &["--force", "--weights", "raw"]].concat();
    let text = stdout(&pgm(&forced));
    assert!(text.contains("raw weights"), "{text}");

    // The number of heads is in the files that were written.
    stdout(&pgm(&[
        "convert", &first, "--to", "burnpack", "--output", &second,
    ]));
    stdout(&pgm(&[
        "convert",
        &second,
        "--to",
        "published",
        "--output",
        &third,
    ]));
    let bytes = |path| std::fs::read(path).unwrap().len();
    assert_eq!(bytes(&first), bytes(&third));
    let text = stdout(&pgm(&["info", &second, "--json"]));
    let info: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(info["network"]["network"], "partition");
    assert_eq!(info["network"]["n_heads"], 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn info_shows_the_published_number_of_parameters_and_settings() {
    let config = root().join("configs/owt-pgm-8-8.toml");
    let config = config.to_str().unwrap();
    let text = stdout(&pgm(&["info", config, "--json"]));
    let info: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(info["cost"]["n_parameters"], 202_708_818);
    assert_eq!(info["cost"]["training"]["tokens_per_step"], 512 * 1024);
    let text = stdout(&pgm(&["info", config, "--set", "training.batch_size=64"]));
    assert!(text.contains("202,708,818"), "{text}");
    assert!(text.contains("1,000,000 steps of 64 sequences"), "{text}");
}

#[test]
fn weights_alone_are_sampled_and_scored() {
    let folder = tempfile::tempdir().expect("a tokenizer of bytes is written");
    let file = |name: &str| folder.path().join(name);
    let weights = file("network.safetensors");
    std::fs::copy(
        golden().join("weights_pgm_linear_n025.safetensors"),
        &weights,
    )
    .unwrap();
    let weights = weights.to_str().unwrap();
    let common = ["--weights", weights, "--n-heads", "4", "--seq-len", "32"];
    let sample = [
        &["sample", "--n", "2", "--steps", "4", "--json"],
        &common[..],
    ]
    .concat();

    let error = stderr(&pgm(&sample));
    assert!(
        error.contains("a vocabulary of 101 is not GPT-2's (50258, which is built in)")
            && error.contains("--tokenizer"),
        "{error}"
    );
    let tokenizer = file("tokenizer.json");
    small_tokenizer(&tokenizer, 100);
    let text = stdout(&pgm(&sample));
    let tokens: Vec<usize> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["tokens"].as_array().unwrap().len()
        })
        .collect();
    assert_eq!(tokens.len(), 2);
    // Beside the weights or by name, and the folder instead of the file: the same text.
    let elsewhere = file("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let moved = elsewhere.join("other.json");
    std::fs::copy(&tokenizer, &moved).unwrap();
    let named = [&sample[..], &["--tokenizer", moved.to_str().unwrap()]].concat();
    assert_eq!(stdout(&pgm(&named)), text);
    let of_folder: Vec<&str> = sample
        .iter()
        .map(|&arg| {
            if arg == weights {
                folder.path().to_str().unwrap()
            } else {
                arg
            }
        })
        .collect();
    assert_eq!(stdout(&pgm(&of_folder)), text);

    let questions = file("questions.jsonl");
    std::fs::write(&questions, "{\"text\": \"one two\"}\n").unwrap();
    let questions = questions.to_str().unwrap();
    let choice = [
        &["eval-choice", "--json", "--questions", questions],
        &common[..],
    ]
    .concat();
    let report: serde_json::Value = serde_json::from_str(&stdout(&pgm(&choice))).unwrap();
    assert_eq!(report["settings"]["config"]["model"]["n_encoder_blocks"], 2);
    assert!(
        report["report"]["greedy_accuracy"]["value"].is_number(),
        "{report}"
    );

    let perplexity = [&["eval-ppl"], &common[..]].concat();
    let error = stderr(&pgm(&perplexity));
    assert!(
        error.contains("network.safetensors` comes without held-out text"),
        "{error}"
    );
    let text = file("text.txt");
    std::fs::write(
        &text,
        "one two three four five six seven eight nine ten ".repeat(4),
    )
    .unwrap();
    let with_text = [
        &perplexity[..],
        &["--json", "--text", text.to_str().unwrap()],
    ]
    .concat();
    let report: serde_json::Value = serde_json::from_str(&stdout(&pgm(&with_text))).unwrap();
    assert!(
        report["report"]["perplexity"]
            .as_f64()
            .is_some_and(|value| value > 1.0),
        "{report}"
    );
}

/// The tokens that a checkpoint draws.
fn drawn(weights: &Path, tokenizer: &Path, more: &[&str]) -> Vec<Vec<u64>> {
    let [weights, tokenizer] = [weights, tokenizer].map(|path| path.to_str().expect("UTF-8"));
    let sample = [
        "sample",
        "--json",
        "--n",
        "3",
        "--steps",
        "6",
        "--length",
        "24",
        "--no-eos-stop",
        "--weights",
        weights,
        "--tokenizer",
        tokenizer,
    ];
    let text = stdout(&pgm(&[&sample[..], more].concat()));
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        serde_json::from_value(line["tokens"].clone()).expect("tokens")
    };
    text.lines().map(line).collect()
}

#[test]
fn a_pickled_checkpoint_draws_the_same_before_and_after_conversion() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = folder.path().join("t.json");
    small_tokenizer(&tokenizer, 10);
    let checkpoint = golden().join("checkpoint_pgm_tame.ckpt");
    let heads = ["--n-heads", "2"];
    let averaged = drawn(&checkpoint, &tokenizer, &heads);
    let raw = drawn(
        &checkpoint,
        &tokenizer,
        &["--n-heads", "2", "--raw-weights"],
    );
    for tokens in averaged.iter().chain(&raw) {
        assert_eq!(tokens.len(), 24);
        assert!(tokens.iter().all(|&token| token < 10), "{tokens:?}");
    }
    // The averaged weights of the file are the raw ones with another sign.
    assert_ne!(averaged, raw);
    // As the help of `convert` spells them.
    for format in ["safetensors", "burnpack", "published"] {
        for (choice, wanted) in [("ema", &averaged), ("raw", &raw)] {
            let output = folder.path().join(format!("{choice}.{format}"));
            let (from, to) = (checkpoint.to_str().unwrap(), output.to_str().unwrap());
            let convert = ["convert", from, "--to", format, "--output", to, "--weights"];
            stdout(&pgm(&[&convert[..], &[choice], &heads[..]].concat()));
            // The file says how many heads it has.
            assert_eq!(
                drawn(&output, &tokenizer, &[]),
                *wanted,
                "{format} {choice}"
            );
        }
    }
}

#[test]
fn checkpoints_that_are_not_what_their_name_says_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let sample = |path: &Path| {
        let path = path.to_str().unwrap().to_owned();
        stderr(&pgm(&["sample", "--weights", &path, "--n-heads", "2"]))
    };
    let checkpoint = golden().join("checkpoint_pgm.ckpt");
    for name in ["pgm_8_8.ckpt", "mdlm.ckpt"] {
        std::fs::copy(&checkpoint, file(name)).unwrap();
        let error = sample(&file(name));
        assert!(
            error.contains(name)
                && error.contains("has the name of a published model, whose sizes are"),
            "{error}"
        );
    }
    let error = sample(folder.path());
    assert!(
        error.contains("holds several files with weights"),
        "{error}"
    );
    small_tokenizer(&file("tokenizer.json"), 100);
    std::fs::copy(&checkpoint, file("mine.ckpt")).unwrap();
    let error = sample(&file("mine.ckpt"));
    assert!(
        error.contains("has a vocabulary of 11, tokenizer"),
        "{error}"
    );
    let empty = file("empty");
    std::fs::create_dir(&empty).unwrap();
    let error = sample(&empty);
    assert!(error.contains("holds no file with weights"), "{error}");
    let error = stderr(&pgm(&["sample", "--weights", "absent.ckpt"]));
    assert!(
        error.contains("cannot read weights from `absent.ckpt`"),
        "{error}"
    );
}
