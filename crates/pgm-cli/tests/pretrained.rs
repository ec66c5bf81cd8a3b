//! The pretrained model by its name: a program with a tiny one beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

const RUN: &str = r#"
name = "tiny"
[data]
inputs = ["text.txt"]
tokenizer = "bpe-270"
seq_len = 32
[objective]
weighting = "low_variance"
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
[sampling]
n_steps = 5
temperature = 0.9
"#;

/// A folder to work in with some text, and in `bin` the program with its model.
static PROGRAM: LazyLock<TempDir> = LazyLock::new(|| {
    // Beside the executable, which a link to it can be made on.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("run.toml"), RUN).expect("a file");
    let text: String = (0..900)
        .map(|i| ["The whale. ", "Call me! ", "A sea ; "][(i * i + i / 7) % 3])
        .collect();
    fs::write(path("text.txt"), text).expect("a file");
    fs::write(path("other.txt"), "A ship , the whale ! ".repeat(60)).expect("a file");
    fs::create_dir_all(path("bin/pretrained")).expect("a folder");
    let program = path("bin/pgm");
    if fs::hard_link(env!("CARGO_BIN_EXE_pgm"), &program).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_pgm"), &program).expect("a copy of the program");
    }
    let run = |args: &[&str]| succeeds(folder.path(), &program, args);
    run(&[
        "train", "--config", "run.toml", "--plain", "--output", "run",
    ]);
    run(&[
        "convert",
        "run",
        "--to",
        "safetensors",
        "--dtype",
        "f16",
        "--output",
        "bin/pretrained/model.safetensors",
    ]);
    fs::copy(
        path("run/tokenizer.json"),
        path("bin/pretrained/tokenizer.json"),
    )
    .expect("a tokenizer");
    let line = |name: &str| {
        let path = folder.path().join("bin/pretrained").join(name);
        let (_, sha256) = pgm_data::sha256_of_file(&path).expect("a file");
        format!("{sha256}  {name}\n")
    };
    let lines = line("model.safetensors") + &line("tokenizer.json");
    fs::write(path("bin/pretrained/SHA256SUMS"), lines).expect("a file");
    folder
});

fn start(folder: &Path, program: &Path, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .expect("pgm starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(folder: &Path, program: &Path, args: &[&str]) -> String {
    let output = start(folder, program, args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the program with the model says in a folder of its own, which holds the text.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["text.txt", "other.txt", "run.toml"] {
            fs::copy(PROGRAM.path().join(name), folder.path().join(name)).expect("a file");
        }
        Self { folder }
    }

    fn program() -> PathBuf {
        PROGRAM.path().join("bin/pgm")
    }

    fn run(&self, args: &[&str]) -> Output {
        start(self.folder.path(), &Self::program(), args)
    }

    fn succeeds(&self, args: &[&str]) -> String {
        succeeds(self.folder.path(), &Self::program(), args)
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} succeeded");
        stderr(&output)
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.succeeds(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Token ids in each line of JSON.
fn tokens(text: &str) -> Vec<Vec<u64>> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        serde_json::from_value(line["tokens"].clone()).expect("tokens")
    };
    text.lines().map(line).collect()
}

#[test]
fn without_a_name_the_pretrained_model_is_sampled_as_it_was_trained() {
    let place = Place::new();
    let sample = ["sample", "--n", "2", "--json", "--no-eos-stop"];
    let output = place.run(&sample);
    let (text, said) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr(&output),
    );
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("using the pretrained model") && said.contains("--run DIR"),
        "{said}"
    );
    // Nobody said how long sequences are, nor in how many steps: the file does.
    let drawn = tokens(&text);
    assert_eq!([drawn[0].len(), drawn[1].len()], [32, 32]);
    let with = |args: &[&str]| place.succeeds(&[&sample[..], args].concat());
    assert_eq!(with(&["--steps", "5", "--temperature", "0.9"]), text);
    assert_ne!(with(&["--steps", "2"]), text);
    // By its name, and by its path.
    assert_eq!(with(&["--weights", "pretrained"]), text);
    let file = PROGRAM.path().join("bin/pretrained/model.safetensors");
    assert_eq!(with(&["--weights", file.to_str().unwrap()]), text);
    // A folder of that name in the folder to work in is another thing.
    fs::create_dir(place.path("pretrained")).unwrap();
    assert_eq!(with(&["--weights", "pretrained"]), text);
    let error = place.fails(&["sample", "--weights", "./pretrained"]);
    assert!(error.contains("holds no file with weights"), "{error}");
    let shorter = with(&["--weights", "pretrained", "--seq-len", "16"]);
    assert_eq!(tokens(&shorter)[0].len(), 16);
    // What belongs to a run is not for it.
    let error = place.fails(&["sample", "--checkpoint", "best"]);
    assert!(error.contains("--run"), "{error}");
}

#[test]
fn evaluations_take_it_and_write_into_runs() {
    let place = Place::new();
    let error = place.fails(&["eval-ppl"]);
    assert!(
        error.contains("`pretrained` comes without held-out text")
            && error.contains("--text FILE")
            && error.contains("bundled text"),
        "{error}"
    );
    let report = place.json(&["eval-ppl", "--json", "--text", "other.txt"]);
    assert_eq!(report["settings"]["model"], "pretrained");
    assert_eq!(report["settings"]["text"]["seq_len"], 32);
    let results = report["results"].as_str().unwrap();
    assert!(
        results.starts_with("runs/pretrained/perplexities"),
        "{results}"
    );
    assert!(place.path(results).is_file());
    fs::write(place.path("questions.jsonl"), "{\"text\": \"A whale\"}\n").unwrap();
    let report = place.json(&["eval-choice", "--json", "--questions", "questions.jsonl"]);
    let results = report["results"].as_str().unwrap();
    assert!(results.starts_with("runs/pretrained/choices"), "{results}");
    let error = place.fails(&["eval-genppl", "--judge", "absent", "--mauve"]);
    assert!(
        error.contains("the pretrained model comes without held-out text"),
        "{error}"
    );
    // The model's own folder stays as it is.
    let model = fs::read_dir(PROGRAM.path().join("bin/pretrained")).unwrap();
    assert_eq!(model.count(), 3);
}

#[test]
fn it_is_described_and_converted_with_what_it_says() {
    let place = Place::new();
    let info = place.json(&["info", "pretrained", "--json"]);
    assert_eq!(info["network"]["d_model"], 16);
    assert_eq!(info["subject"]["run"], "`tiny` (pgm), step 2");
    assert_eq!(info["subject"]["sequences"], "32 tokens");
    let report = place.succeeds(&[
        "convert",
        "pretrained",
        "--to",
        "burnpack",
        "--output",
        "copy.bpk",
    ]);
    assert!(report.contains("float32"), "{report}");
    let tokenizer = PROGRAM.path().join("bin/pretrained/tokenizer.json");
    let sample = ["sample", "--n", "1", "--json", "--no-eos-stop"];
    let copy = [
        "--weights",
        "copy.bpk",
        "--tokenizer",
        tokenizer.to_str().unwrap(),
    ];
    assert_eq!(
        place.succeeds(&[&sample[..], &copy].concat()),
        place.succeeds(&sample)
    );
}

#[test]
fn a_damaged_model_is_named_with_the_way_to_get_it() {
    let place = Place::new();
    let bin = place.path("bin");
    fs::create_dir_all(bin.join("pretrained")).unwrap();
    let program = bin.join("pgm");
    fs::copy(Place::program(), &program).unwrap();
    for entry in fs::read_dir(PROGRAM.path().join("bin/pretrained")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(
            &path,
            bin.join("pretrained").join(path.file_name().unwrap()),
        )
        .unwrap();
    }
    let weights = bin.join("pretrained/model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    for args in [
        &["sample"][..],
        &["info", "pretrained"],
        &[
            "convert",
            "pretrained",
            "--to",
            "burnpack",
            "--output",
            "x.bpk",
        ],
        &["eval-ppl", "--text", "other.txt"],
        &["distill", "--teacher", "pretrained"],
        &["train", "--from", "pretrained"],
    ] {
        let output = start(place.folder.path(), &program, args);
        assert!(!output.status.success(), "{args:?}");
        let error = stderr(&output);
        assert!(
            error.contains("bin/pretrained")
                && error.contains("was it copied to its end?")
                && error.contains("git checkout -- pretrained"),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn texts_that_it_cannot_use_are_explained() {
    let place = Place::new();
    let long = "The whale. ".repeat(40);
    let error = place.fails(&["sample", "--prompt", &long]);
    assert!(
        error.contains("tokens with BOS, which leaves nothing to draw of 32")
            && error.contains("shorten it"),
        "{error}"
    );
    let error = place.fails(&["sample", "--infill", &format!("{long} ___")]);
    assert!(error.contains("the sequence has 32; shorten it"), "{error}");
    let error = place.fails(&["sample", "--infill", "no blank at all"]);
    assert!(
        error.contains("the template has no blank; write `___`"),
        "{error}"
    );
    fs::write(place.path("templates.txt"), "a ___\nnothing\n").unwrap();
    let error = place.fails(&["sample", "--template", "templates.txt"]);
    assert!(
        error.contains("`templates.txt`, line 2") && error.contains("has no blank"),
        "{error}"
    );
    let warned = stderr(&place.run(&["sample", "--n", "1", "--prompt", "Да, A"]));
    assert!(
        warned.contains("2 of the 4 characters of the prompt have no token of their own"),
        "{warned}"
    );
    let plain = stderr(&place.run(&["sample", "--n", "1", "--prompt", "A whale"]));
    assert!(!plain.contains("characters"), "{plain}");
    fs::write(place.path("russian.txt"), "Слова, слова. ".repeat(40)).unwrap();
    let warned = stderr(&place.run(&["eval-ppl", "--text", "russian.txt"]));
    assert!(
        warned.contains("characters of the text have no token of their own"),
        "{warned}"
    );
}

#[test]
fn training_goes_on_from_it_on_other_text() {
    let place = Place::new();
    let error = place.fails(&["train", "--from", "pretrained"]);
    assert!(
        error.contains("--from wants text to train on; name it with --set 'data.inputs="),
        "{error}"
    );
    let train = [
        "train",
        "--plain",
        "--from",
        "pretrained",
        "--set",
        "data.inputs=[\"other.txt\"]",
        "--set",
        "evaluation.n_samples_at_end=1",
    ];
    let steps = |n: &'static str| [&train[..], &["--set", n]].concat();
    let report = place.succeeds(&steps("training.n_steps=3"));
    assert!(
        report.contains("from.json") && !report.contains("(train on)"),
        "{report}"
    );
    let read = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    let origin: Value = serde_json::from_str(&read("runs/fine-tuned-pgm/from.json")).unwrap();
    assert_eq!(origin["source"], "pretrained");
    assert_eq!(origin["step"], 2);
    let config = read("runs/fine-tuned-pgm/config.toml");
    for line in [
        "seq_len = 32",
        "d_model = 16",
        "learning_rate = 0.0003",
        "schedule = \"cosine\"",
        "tokenizer = \"runs/fine-tuned-pgm/tokenizer.json\"",
        "temperature = 0.9",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    // The same command again finds its run, another source does not.
    place.succeeds(&steps("training.n_steps=3"));
    let file = PROGRAM.path().join("bin/pretrained/model.safetensors");
    let mut other = steps("training.n_steps=3");
    other[3] = file.to_str().unwrap();
    let error = place.fails(&other);
    assert!(
        error.contains("began with the weights of `pretrained`") && error.contains("--restart"),
        "{error}"
    );
    let error = place.fails(&[&train[..], &["--set", "model.d_model=32"]].concat());
    assert!(
        error.contains("`model.d_model` is 32, and 16 for the weights of `pretrained`"),
        "{error}"
    );
    let error = place.fails(&[&train[..], &["--objective", "mdlm"]].concat());
    assert!(
        error.contains("`objective.kind` is `mdlm`, and `pgm`"),
        "{error}"
    );
    let error = place.fails(&[&train[..], &["--checkpoint", "best"]].concat());
    assert!(error.contains("`pretrained` is none"), "{error}");
}

#[test]
fn training_goes_on_from_a_run_too() {
    let place = Place::new();
    let train = [
        "train", "--config", "run.toml", "--plain", "--output", "run",
    ];
    place.succeeds(&train);
    let from = |more: &[&str]| {
        let set = [
            "--set",
            "data.inputs=[\"other.txt\"]",
            "--set",
            "training.n_steps=2",
        ];
        let from = ["train", "--plain", "--from", "./run/"];
        place.run(&[&from[..], &set, more].concat())
    };
    let output = from(&["--output", "on", "--checkpoint", "2", "--raw-weights"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let origin = fs::read_to_string(place.path("on/from.json")).unwrap();
    let origin: Value = serde_json::from_str(&origin).unwrap();
    assert_eq!(
        [&origin["source"], &origin["checkpoint"], &origin["weights"]],
        ["run", "2", "raw"]
    );
    // Averaged weights are others.
    let error = stderr(&from(&["--output", "on", "--checkpoint", "2"]));
    assert!(error.contains("(averaged weights)"), "{error}");
    let error = stderr(&from(&["--output", "run", "--restart"]));
    assert!(
        error.contains("cannot begin with its own weights"),
        "{error}"
    );
    assert!(place.path("run/checkpoints/step-00000002").is_dir());
    let error = stderr(&from(&["--output", "on", "--n-heads", "2"]));
    assert!(
        error.contains("says its tokenizer and its heads"),
        "{error}"
    );
    let error = stderr(&place.run(&["train", "--from", "bin-or-what"]));
    assert!(error.contains("bin-or-what"), "{error}");
    let error = stderr(&place.run(&["train", "--from", "."]));
    assert!(error.contains("has no `config.toml`"), "{error}");
}

#[test]
fn it_can_be_distilled() {
    let place = Place::new();
    let settings = [
        "data.inputs=[\"other.txt\"]",
        "distillation.n_rounds=1",
        "distillation.steps_per_round=2",
        "training.batch_size=4",
        "evaluation.n_sequences=4",
        "evaluation.n_samples_at_end=1",
    ];
    let mut args = vec!["distill", "--plain", "--teacher", "pretrained"];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let report = place.succeeds(&args);
    assert!(report.contains("runs/pretrained-distilled"), "{report}");
    let student = fs::read_to_string(place.path("runs/pretrained-distilled/config.toml")).unwrap();
    assert!(student.contains("seq_len = 32"), "{student}");
}
