//! Runs on one document a row: padding counts in no loss and no perplexity.

mod tiny_run;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_data::TokenBatch;
use pgm_train::{
    CheckpointChoice, ObjectiveKind, Outcome, RunFolder, TrainingModel, WeightsChoice,
};
use tiny_run::{Silent, config, run};

/// Sentences of different lengths, one document each.
fn write_lines(path: &std::path::Path) {
    let line = |n: usize| {
        let text = "The whale is white. ".repeat(1 + n % 3);
        format!("{{\"id\": {n}, \"body\": \"{n} {text}\"}}\n")
    };
    std::fs::write(path, (0..60).map(line).collect::<String>()).expect("the text can be written");
}

#[test]
fn padding_counts_neither_in_training_nor_in_validation() {
    for objective in ["pgm", "mdlm", "complement-mdlm", "ar"] {
        let temporary = tempfile::tempdir().unwrap();
        let lines = temporary.path().join("lines.jsonl");
        write_lines(&lines);
        let inputs = format!("data.inputs=['{}']", lines.display());
        let kind = format!("objective.kind={objective}");
        let overrides = [
            &inputs,
            &kind,
            "data.text_field=body",
            "data.packing=padded",
            "data.validation={documents=20}",
            "data.seq_len=24",
        ];
        let config = config(temporary.path(), &overrides);
        let folder = RunFolder::new(temporary.path().join("run"));
        let device = Device::flex();
        let outcome = run(
            config.clone(),
            &folder,
            &device,
            Interrupter::new(),
            &mut Silent,
        );
        let Ok(Outcome::Finished { validation, .. }) = outcome else {
            panic!("{objective}: {outcome:?}");
        };

        let rows = folder.validation_set(&config).unwrap();
        let all: Vec<usize> = (0..20).collect();
        let mut host = TokenBatch::collect(&rows, &all).unwrap();
        let first = usize::from(objective == "ar");
        let n_counted = |valid: &[bool]| {
            let rows = valid.chunks(24).map(|row| &row[first..]);
            rows.flatten().filter(|&&valid| valid).count()
        };
        assert!(host.n_valid() < host.tokens.len());
        assert_eq!(validation.n_tokens, n_counted(&host.valid), "{objective}");

        // The mean over all tokens is made of the means over a part and over the rest.
        let run = folder
            .load(CheckpointChoice::Last, WeightsChoice::Raw, &device)
            .unwrap();
        let kind: ObjectiveKind = run.config.objective.kind;
        let weighting = run.config.objective.weighting;
        let model = TrainingModel::new(run.model.network, kind, weighting, run.model.mask_token);
        let mut total = |valid: Vec<bool>| -> f64 {
            let n_tokens = n_counted(&valid) as f64;
            host.valid = valid;
            let batch = model.training_batches(&host, 20, 1, 0, &device);
            let loss = model.loss(&batch[0]).try_into_vec_as::<f32>().unwrap();
            n_tokens * f64::from(loss[0])
        };
        let part = host_pattern(20 * 24);
        let rest = part.iter().map(|valid| !valid).collect();
        let whole = total(vec![true; 20 * 24]);
        let sum = total(part) + total(rest);
        assert!(
            (whole / sum - 1.0).abs() < 1e-5,
            "{objective}: {whole} {sum}"
        );
    }
}

fn host_pattern(n: usize) -> Vec<bool> {
    (0..n).map(|index| index % 7 < 3).collect()
}
