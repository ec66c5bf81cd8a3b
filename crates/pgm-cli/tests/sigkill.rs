//! A run that is killed again and again ends as one that was left alone.
#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
name = "killed"
seed = 5
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
dropout = 0.1
[optimizer]
learning_rate = 1e-2
warmup_steps = 5
schedule = "cosine"
[training]
n_steps = 400
batch_size = 4
micro_batch_size = 2
log_every = 1
checkpoint_every = 7
[evaluation]
every = 25
n_sequences = 8
n_samples_at_end = 2
[sampling]
n_steps = 4
"#;

fn start(folder: &Path, output: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pgm"))
        .args(["train", "--config", "run.toml", "--backend", "flex"])
        .args(["--output", output])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// Lines of the metrics without times; the last line may be half-written.
fn metrics(folder: &Path, output: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join(output).join("metrics.jsonl"));
    text.unwrap_or_default()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .map(|mut record: serde_json::Value| {
            let fields = record.as_object_mut().expect("an object");
            fields.remove("seconds");
            fields.remove("tokens_per_second");
            record
        })
        .collect()
}

fn last_step(records: &[serde_json::Value]) -> u64 {
    records
        .last()
        .and_then(|record| record["step"].as_u64())
        .unwrap_or(0)
}

#[test]
fn a_run_killed_at_random_steps_ends_bit_by_bit_the_same() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path();
    let text: String = (0..900)
        .map(|i| ["The whale is white. ", "Call me! ", "A dark sea; "][(i * i + i / 7) % 3])
        .collect();
    std::fs::write(folder.join("text.txt"), text).expect("the text");
    std::fs::write(folder.join("run.toml"), CONFIG).expect("the configuration");

    assert!(start(folder, "whole").wait().expect("it ends").success());
    let whole = metrics(folder, "whole");
    assert_eq!(last_step(&whole), 400);

    // Kills come after a number of new steps from a fixed list, and at whatever point of a step,
    // save or validation the process has reached by then.
    let mut n_kills = 0;
    for n_new_steps in [3, 40, 11, 70, 26, 55] {
        let mut child = start(folder, "killed");
        let goal = last_step(&metrics(folder, "killed")) + n_new_steps;
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let has_ended = child.try_wait().expect("its state").is_some();
            if has_ended || last_step(&metrics(folder, "killed")) >= goal {
                n_kills += u32::from(!has_ended);
                break;
            }
            assert!(Instant::now() < deadline, "no progress towards step {goal}");
            std::thread::sleep(Duration::from_millis(2));
        }
        // SIGKILL.
        let _ = child.kill();
        child.wait().expect("it is gone");
    }
    assert!(n_kills >= 4, "only {n_kills} kills");
    assert!(start(folder, "killed").wait().expect("it ends").success());

    assert_eq!(metrics(folder, "killed"), whole);
    let samples = |output: &str| {
        std::fs::read_to_string(folder.join(output).join("samples.txt")).expect("samples")
    };
    assert_eq!(samples("killed"), samples("whole"));
}
