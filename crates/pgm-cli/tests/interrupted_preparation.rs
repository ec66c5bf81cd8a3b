//! `pgm prepare-data`, killed at any moment: the next call gives what an undisturbed one gives.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const FILES: [&str; 4] = [
    "train.tok",
    "validation.tok",
    "tokenizer.json",
    "manifest.json",
];

fn prepare(text: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgm"));
    command
        .arg("prepare-data")
        .args(["--set", &format!("data.inputs=['{}']", text.display())])
        .args(["--set", "data.tokenizer=bpe-512"])
        .arg("--output")
        .arg(output)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn contents(folder: &Path) -> Vec<Vec<u8>> {
    let read = |name| fs::read(folder.join(name)).unwrap();
    FILES.into_iter().map(read).collect()
}

#[test]
fn a_killed_preparation_is_made_good_by_the_next() {
    let root = tempfile::tempdir().unwrap();
    let text = root.path().join("text.txt");
    let words = [
        "whale", "sea", "ship", "harpoon", "captain", "white", "storm",
    ];
    let paragraph = |n: usize| {
        let word = |i: usize| words[(n * (i + 3) + i * i) % words.len()];
        (0..12)
            .map(|i| format!("{} {n} ", word(i)))
            .collect::<String>()
            + "\n\n"
    };
    fs::write(&text, (0..3000).map(paragraph).collect::<String>()).unwrap();

    let undisturbed = root.path().join("undisturbed");
    let start = Instant::now();
    assert!(prepare(&text, &undisturbed).status().unwrap().success());
    let duration = start.elapsed();
    let wanted = contents(&undisturbed);

    let output = root.path().join("killed");
    let mut n_killed = 0;
    for percent in [5, 15, 30, 45, 55, 65, 75, 85, 92, 98] {
        let mut child = prepare(&text, &output).spawn().unwrap();
        let moment = Instant::now() + duration * percent / 100;
        while Instant::now() < moment && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        // SIGKILL: the process cannot tidy up.
        child.kill().unwrap();
        n_killed += usize::from(!child.wait().unwrap().success());
        // A folder that looks finished is finished.
        if output.join("manifest.json").exists() {
            assert_eq!(contents(&output), wanted, "killed at {percent} %");
            fs::remove_file(output.join("manifest.json")).unwrap();
        }
    }
    assert!(n_killed > 2, "{n_killed} of 10 calls were killed");
    assert!(prepare(&text, &output).status().unwrap().success());
    assert_eq!(contents(&output), wanted);
    let hidden = fs::read_dir(&output)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"));
    assert_eq!(hidden.count(), 0);
}
