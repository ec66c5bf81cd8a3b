//! `pgm convert` and `pgm info` on a tiny checkpoint in the form of the authors'.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    let checkpoint = root().join("crates/pgm-model/tests/golden/checkpoint_pgm.ckpt");
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
