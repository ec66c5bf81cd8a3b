//! `pgm sample`: what is printed, shown and drawn.

mod tiny_weights;

use std::path::Path;
use std::process::{Command, Output};

use tiny_weights::{golden, small_tokenizer};

/// A folder with weights of a PGM.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = golden().join("weights_pgm_linear_n025.safetensors");
    std::fs::copy(weights, folder.path().join("weights.safetensors")).expect("a file");
    small_tokenizer(&folder.path().join("tokenizer.json"), 100);
    folder
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgm"));
    command
        .args(["sample", "--weights", "weights.safetensors"])
        .args(["--n-heads", "4", "--seq-len", "32"])
        .args(args)
        .current_dir(folder);
    command
}

fn sample(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("pgm starts")
}

fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const DRAW: [&str; 6] = ["--n", "3", "--steps", "20", "--batch-size", "2"];

/// The first text with its blanks and words, as they follow each other in the picture's last panel.
fn words_of_last_panel(svg: &str) -> String {
    let panel = svg.rsplit("class=\"caption\"").next().expect("a panel");
    let words = panel.lines().filter(|line| line.starts_with("<text "));
    words
        .map(|line| {
            let content = line.split_once('>').expect("an element").1;
            content.strip_suffix("</text>").expect("its end")
        })
        .collect()
}

#[test]
fn elsewhere_than_on_a_terminal_plain_text_is_printed() {
    let folder = folder();
    let output = sample(folder.path(), &DRAW);
    let printed = stdout(&output);
    let json = stdout(&sample(folder.path(), &[&DRAW[..], &["--json"]].concat()));
    let mut expected = String::new();
    for (i, line) in json.lines().enumerate() {
        let sequence: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = sequence["text"].as_str().expect("a text");
        expected += &format!("--- sample {} ---\n{}\n\n", i + 1, text.trim());
    }
    assert_eq!(printed, expected);
    assert_eq!(printed.matches("--- sample").count(), 3);
    let stderr = stderr(&output);
    assert!(!stderr.contains('\x1b'), "{stderr}");
    // Two batches of 20 steps.
    assert!(stderr.contains("    sample 40/40 steps\n"), "{stderr}");
    assert!(!stderr.contains("sample 0/"), "{stderr}");
    assert!(stderr.contains("3 sequences"), "{stderr}");
}

#[test]
fn watching_leaves_what_is_printed_as_it_is() {
    let folder = folder();
    let watched = sample(folder.path(), &[&DRAW[..], &["--watch"]].concat());
    let unwatched = sample(folder.path(), &[&DRAW[..], &["--no-watch"]].concat());
    assert_eq!(stdout(&watched), stdout(&unwatched));
    assert!(!stderr(&unwatched).contains('\x1b'));
    let shown = stderr(&watched);
    assert!(
        shown.contains("text 1 of 3, step 0 of 20, 0 % known"),
        "{shown}"
    );
    assert!(shown.contains("··· ···"), "{shown}");
    // Nothing is left of it: behind the last frame the terminal is cleared, then come the numbers.
    let (_, end) = shown.rsplit_once("A\x1b[J").expect("it is cleared");
    assert!(
        end.starts_with("3 sequences") && end.lines().count() == 1,
        "{end}"
    );
    let both = sample(folder.path(), &["--watch", "--no-watch"]);
    assert!(!both.status.success());
}

#[test]
fn a_picture_shows_the_text_at_powers_of_four() {
    let folder = folder();
    let picture = |name: &str| folder.path().join(name);
    let args = |name| [&DRAW[..], &["--picture", name]].concat();
    let output = sample(folder.path(), &args("a.svg"));
    let printed = stdout(&output);
    assert_eq!(printed, stdout(&sample(folder.path(), &args("b.svg"))));
    assert!(stderr(&output).contains("picture: a.svg"));
    let svg = std::fs::read_to_string(picture("a.svg")).expect("a picture");
    assert_eq!(
        svg,
        std::fs::read_to_string(picture("b.svg")).expect("a picture")
    );
    for step in [
        "step 1 of 20: ",
        "step 4 of 20: ",
        "step 16 of 20: ",
        "step 20 of 20: 100 % known",
    ] {
        assert_eq!(svg.matches(step).count(), 1, "{step}");
    }
    let first = printed.split("--- sample 2 ---").next().expect("a text");
    let first = first.split_once('\n').expect("a text").1;
    let first: String = first.split_whitespace().collect();
    assert!(!first.is_empty());
    let escaped = first
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;");
    assert_eq!(words_of_last_panel(&svg).replace('¶', ""), escaped);
}

#[test]
fn a_picture_without_a_place_is_refused_before_the_work() {
    let folder = folder();
    let refused = |path: &str| {
        let output = sample(folder.path(), &["--picture", path]);
        assert!(!output.status.success() && output.stdout.is_empty());
        stderr(&output)
    };
    let text = refused("nowhere/picture.svg");
    let expected =
        "error: --picture `nowhere/picture.svg`: there is no folder `nowhere`; make it first";
    assert!(text.contains(expected), "{text}");
    let text = refused(".");
    assert!(
        text.contains("--picture `.` is a folder; name a file in it"),
        "{text}"
    );
}

/// As Ctrl-C does it.
#[cfg(unix)]
#[test]
fn an_interrupt_is_seen_within_a_step() {
    use std::io::Read;
    use std::process::Stdio;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let folder = folder();
    // A batch large enough that none of its steps is over at once.
    let args = [
        "--watch",
        "--n",
        "4000",
        "--batch-size",
        "4000",
        "--steps",
        "31",
    ];
    let mut child = command(folder.path(), &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pgm starts");
    let mut stderr = child.stderr.take().expect("it is piped");
    let mut shown = Vec::new();
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&shown).contains("of 31") {
        let n = stderr.read(&mut bytes).expect("stderr");
        assert_ne!(n, 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend(&bytes[..n]);
    }
    let id = Pid::from_raw(child.id().try_into().expect("an id"));
    kill(id, Signal::SIGINT).expect("it runs");
    stderr.read_to_end(&mut shown).expect("stderr");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty());
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.ends_with("A\x1b[Jinterrupted\n"), "{shown}");
    assert!(!shown.contains("step 31 of 31"), "{shown}");
}
