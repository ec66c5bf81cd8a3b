//! `pgm eval-genppl` with a tiny judge.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn pgm(folder: &Path, args: &[&str]) -> Output {
    pgm_command(folder, &[&["eval-genppl"], args].concat())
}

fn pgm_command(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgm"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("pgm starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a judge and texts.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pgm-judges/tests/golden");
    let judge = folder.path().join("judge");
    std::fs::create_dir(&judge).expect("a folder");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join("llama").join(file), judge.join(file))
            .expect("a file of the judge");
    }
    let text = include_str!("eval_genppl.rs").to_owned();
    let tokenizer = pgm_data::Tokenizer::train_bpe([text].into_iter(), 300).expect("a tokenizer");
    tokenizer
        .save(judge.join("tokenizer.json"))
        .expect("a file");
    let texts: String = (0..9)
        .map(|i| format!("{{\"text\": \"{} text\"}}\n", "one ".repeat(i + 1)))
        .collect();
    std::fs::write(folder.path().join("texts.jsonl"), texts).expect("a file");
    folder
}

const COMMON: [&str; 6] = [
    "--judge",
    "judge",
    "--samples",
    "texts.jsonl",
    "--max-length",
    "40",
];

fn report(folder: &Path, args: &[&str]) -> serde_json::Value {
    let args = [&COMMON[..], &["--json", "report.json"], args].concat();
    let output = pgm(folder, &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.contains("| generative perplexity | unigram entropy (nats) |"),
        "{table}"
    );
    let text = std::fs::read_to_string(folder.join("report.json")).expect("a report");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let report = json["evaluations"][0]["report"].clone();
    assert!(
        report["unigram_entropy"]["value"]
            .as_f64()
            .expect("a number")
            > 0.5
    );
    report
}

/// The files of results in a folder.
fn results(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .collect()
}

#[test]
fn an_evaluation_goes_on_where_it_was_and_gives_the_same_numbers() {
    let whole = folder();
    let expected = report(whole.path(), &["--batch-size", "4"]);
    let parts = folder();
    assert_eq!(report(parts.path(), &["--n", "2"])["n_samples"], 2);
    let results = results(&parts.path().join("generative")).remove(0);
    let before = std::fs::read_to_string(&results).unwrap();
    let found = report(parts.path(), &["--batch-size", "3"]);
    let after = std::fs::read_to_string(&results).unwrap();
    assert!(after.starts_with(&before) && after.lines().count() == 10);
    for key in ["generative_perplexity", "unigram_entropy", "mean_length"] {
        for part in ["value", "standard_error"] {
            let of = |report: &serde_json::Value| report[key][part].as_f64().unwrap();
            let (found, expected) = (of(&found), of(&expected));
            assert!(
                (found / expected - 1.0).abs() < 1e-4,
                "{key} {part}: {found}, {expected}"
            );
        }
    }
    assert_eq!(found["distinct"], expected["distinct"]);
    assert_eq!(found["n_scored"], expected["n_scored"]);
}

#[test]
fn what_cannot_be_judged_is_named() {
    let folder = folder();
    let refused = |args: &[&str]| {
        let output = pgm(folder.path(), args);
        assert!(!output.status.success());
        stderr(&output)
    };
    let error = refused(&["--judge", "absent", "--samples", "texts.jsonl"]);
    assert!(
        error.contains("there is no judge `absent` on this machine"),
        "{error}"
    );
    let error = refused(&["--judge", "judge", "--samples", "absent.txt"]);
    assert!(error.contains("`absent.txt` does not exist"), "{error}");
    let error = refused(&[&COMMON[..], &["--n", "10"]].concat());
    assert!(
        error.contains("--n is 10, `texts.jsonl` holds 9 samples"),
        "{error}"
    );
    let error = refused(&[
        "--judge",
        "judge",
        "--samples",
        "texts.jsonl",
        "--max-length",
        "65",
    ]);
    assert!(
        error.contains("`max_length` is 65, the judge reads from 2 to 64"),
        "{error}"
    );
    std::fs::write(folder.path().join("empty.txt"), "\n").unwrap();
    let error = refused(&["--judge", "judge", "--samples", "empty.txt"]);
    assert!(error.contains("`empty.txt`: it holds no sample"), "{error}");
    let error = refused(&[&COMMON[..], &["--mauve"]].concat());
    assert!(
        error.contains("--samples comes without held-out text") && error.contains("--references"),
        "{error}"
    );
    let error = refused(&[&COMMON[..], &["--plots", "plots"]].concat());
    assert!(error.contains("one evaluation makes no picture"), "{error}");
    assert!(!folder.path().join("plots").exists());
    let error = refused(&[&COMMON[..], &["--temperature", "0.5"]].concat());
    assert!(error.contains("cannot be used with"), "{error}");
    std::fs::remove_file(folder.path().join("judge/tokenizer.json")).unwrap();
    let error = refused(&COMMON);
    assert!(
        error.contains("the judge has no `tokenizer.json`"),
        "{error}"
    );
}

const RUN: &str = r#"
name = "tiny"
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
[training]
n_steps = 2
batch_size = 4
[evaluation]
n_sequences = 4
n_samples_at_end = 1
[sampling]
n_steps = 4
"#;

#[test]
fn a_model_is_judged_at_each_number_of_steps_and_on_other_text() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("run.toml"), RUN).unwrap();
    let text: String = (0..900)
        .map(|i| ["The whale. ", "Call me! ", "A sea ; "][i % 3])
        .collect();
    std::fs::write(path("text.txt"), &text).unwrap();
    let succeeds = |args: &[&str]| {
        let output = pgm_command(folder.path(), args);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    succeeds(&[
        "train", "--config", "run.toml", "--output", "tiny", "--plain",
    ]);

    let sweep = [
        "eval-genppl",
        "--judge",
        "judge",
        "--run",
        "tiny",
        "--n",
        "3",
        "--sweep",
        "steps=2,8",
    ];
    let plots = ["--plots", "plots", "--batch-size", "2"];
    let table = succeeds(&[&sweep[..], &plots].concat());
    assert!(
        table.contains("| uniform, steps 2 |") && table.contains("| uniform, steps 8 |"),
        "{table}"
    );
    assert!(table.contains("tokens drawn by inverting the distribution function in float64"));
    for (picture, axis) in [
        ("steps", "sampling steps"),
        ("frontier", "unigram entropy"),
        ("seconds", "seconds to draw a sample"),
    ] {
        let svg = std::fs::read_to_string(path(&format!("plots/{picture}.svg"))).unwrap();
        assert!(svg.contains(axis), "{picture}");
    }
    // Each number of steps has results of its own, which are found again.
    assert_eq!(results(&path("tiny/generative")).len(), 2);
    assert_eq!(succeeds(&sweep), table);

    // With MAUVE, all combinations, and a page.
    let report = [
        "eval-genppl",
        "--judge",
        "judge",
        "--run",
        "tiny",
        "--n",
        "12",
        "--sweep",
        "temperature=0.5,1,top-p=0.9,1",
        "--mauve",
        "--markdown",
        "report.md",
        "--plots",
        "plots",
    ];
    let table = succeeds(&report);
    assert_eq!(table.matches("| uniform, steps 4, temperature").count(), 4);
    assert!(
        table.contains("| held-out text |") && table.contains("| MAUVE | MAUVE* |"),
        "{table}"
    );
    assert!(
        table.contains("at the last token of the text without special tokens"),
        "{table}"
    );
    // Features of another text are other results.
    let n_files = || results(&path("tiny/generative")).len();
    let before = n_files();
    let spelled = ["--mauve-text", "with-special-tokens"];
    let spelled = succeeds(&[&report[..7], &["--mauve"], &spelled[..]].concat());
    assert!(
        spelled.contains("at the last token of the text with special tokens"),
        "{spelled}"
    );
    assert_eq!(n_files(), before + 2);
    let page = std::fs::read_to_string(path("report.md")).unwrap();
    assert!(page.contains(&table) && page.contains("![frontier](plots/frontier.svg)"));
    assert!(page.contains("\"temperature\": 0.5"));
    let svg = std::fs::read_to_string(path("plots/frontier.svg")).unwrap();
    assert!(svg.contains("top-p 0.9") && svg.contains("top-p 1"));

    let perplexity = |args: &[&str]| {
        let all = [
            &["eval-ppl", "--run", "tiny", "--json", "--text", "text.txt"],
            args,
        ]
        .concat();
        let report: serde_json::Value = serde_json::from_str(&succeeds(&all)).unwrap();
        report["report"]["n_tokens"].as_u64().unwrap()
    };
    // The detokenizer takes the spaces before the semicolons.
    let (all, fewer) = (perplexity(&[]), perplexity(&["--detokenizer", "wikitext"]));
    assert!(fewer < all, "{fewer} and {all}");
}

#[test]
fn the_same_texts_cost_the_same_in_every_form() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    // As Windows writes them.
    for name in ["judge/config.json", "judge/tokenizer.json"] {
        let text = std::fs::read_to_string(path(name)).unwrap();
        std::fs::write(path(name), format!("\u{feff}{text}")).unwrap();
    }
    let lines = std::fs::read_to_string(path("texts.jsonl")).unwrap();
    let texts: Vec<String> = lines
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["text"].as_str().unwrap().to_owned()
        })
        .collect();
    let list = serde_json::json!(texts);
    let duo = format!("{{\"generative_ppl\": NaN, \"entropy\": 5.2, \"generated_seqs\": {list}}}");
    for (name, content) in [
        ("LINES.JSONL", lines.clone()),
        ("lines.json", format!("\u{feff}{lines}")),
        ("list.json", list.to_string()),
        ("duo.json", duo),
        ("texts.TXT", format!("\u{feff}{}", texts.join("\r\n"))),
    ] {
        std::fs::write(path(name), content).unwrap();
    }
    let cost = |name: &str| {
        let args = [
            "--judge",
            "judge",
            "--samples",
            name,
            "--max-length",
            "40",
            "--json",
            "r.json",
        ];
        let output = pgm(folder.path(), &args);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let text = std::fs::read_to_string(path("r.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let report = &json["evaluations"][0]["report"];
        assert_eq!(report["n_samples"], 9, "{name}");
        report["generative_perplexity"]["value"].as_f64().unwrap()
    };
    let wanted = cost("texts.jsonl");
    for name in [
        "LINES.JSONL",
        "lines.json",
        "list.json",
        "duo.json",
        "texts.TXT",
    ] {
        assert!((cost(name) / wanted - 1.0).abs() < 1e-9, "{name}");
    }
    std::fs::write(path("other.json"), "{\"texts\": [\"a\"], \"ppl\": 3}").unwrap();
    let output = pgm(
        folder.path(),
        &["--judge", "judge", "--samples", "other.json"],
    );
    let error = stderr(&output);
    assert!(!output.status.success());
    assert!(
        error.contains("`other.json`: it has the fields `ppl`, `texts`; wanted"),
        "{error}"
    );
}
