//! Gradients of parts of a batch add up to those of the batch.

mod tiny_run;

use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_train::{MetricRecord, MetricsLog, RunFolder};
use tiny_run::{Silent, config, run};

/// Losses and gradient norms of 8 steps.
fn curve(overrides: &[&str]) -> Vec<[f64; 2]> {
    let temporary = tempfile::tempdir().expect("a run");
    let folder = RunFolder::new(temporary.path().join("run"));
    let config = config(temporary.path(), overrides);
    // Initial weights come from the CPU's random generator, which is the process's: one run at a time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    run(config, &folder, &device, Interrupter::new(), &mut Silent).expect("a run");
    MetricsLog::read(&folder.metrics())
        .expect("a run")
        .iter()
        .filter_map(|record| match record {
            MetricRecord::Train {
                loss, grad_norm, ..
            } => Some([*loss, *grad_norm]),
            _ => None,
        })
        .collect()
}

#[test]
fn the_size_of_the_parts_does_not_change_the_run() {
    for objective in ["pgm", "mdlm", "complement-mdlm", "ar"] {
        let kind = format!("objective.kind={objective}");
        let settings = [
            kind.as_str(),
            "model.dropout=0",
            "objective.weighting=low_variance",
        ];
        let whole = curve(&settings);
        assert_eq!(whole.len(), 8);
        for size in ["training.micro_batch_size=1", "training.micro_batch_size=2"] {
            let parts = curve(&[settings.as_slice(), &[size]].concat());
            for (a, b) in whole.as_flattened().iter().zip(parts.as_flattened()) {
                assert!((a - b).abs() <= 1e-4 * a.abs(), "{objective}: {a} and {b}");
            }
        }
    }
}

/// A mean of means of the parts would differ: the rows have 6 to 24 tokens that count.
#[test]
fn parts_count_as_many_tokens_as_they_have() {
    let temporary = tempfile::tempdir().expect("a folder");
    let path = temporary.path().join("lines.jsonl");
    let line = |n: usize| {
        let text = "The whale is white. ".repeat([0, 1, 4][n % 3]);
        format!("{{\"text\": \"{n} {text}\"}}\n")
    };
    std::fs::write(&path, (0..60).map(line).collect::<String>()).expect("a file");
    let inputs = format!("data.inputs=['{}']", path.display());
    for objective in ["pgm", "mdlm", "complement-mdlm", "ar"] {
        let kind = format!("objective.kind={objective}");
        let settings = [
            inputs.as_str(),
            kind.as_str(),
            "model.dropout=0",
            "data.packing=padded",
            "data.validation={documents=10}",
            "data.seq_len=24",
        ];
        let whole = curve(&settings);
        assert_eq!(whole.len(), 8);
        for size in ["training.micro_batch_size=1", "training.micro_batch_size=2"] {
            let parts = curve(&[settings.as_slice(), &[size]].concat());
            for (a, b) in whole.as_flattened().iter().zip(parts.as_flattened()) {
                assert!((a - b).abs() <= 1e-4 * a.abs(), "{objective}: {a} and {b}");
            }
        }
    }
}

#[test]
fn a_size_that_does_not_divide_the_batch_is_refused() {
    let error = pgm_train::ExperimentConfig::from_toml(
        "name = \"x\"\n[data]\ninputs = [\"a.txt\"]\ntokenizer = \"gpt2\"\nseq_len = 16\n[training]\nbatch_size = 4\nmicro_batch_size = 3\n",
        &[],
    )
    .unwrap_err()
    .to_string();
    assert_eq!(
        error,
        "`training.micro_batch_size` is 3, wanted a divisor of `training.batch_size`"
    );
}
