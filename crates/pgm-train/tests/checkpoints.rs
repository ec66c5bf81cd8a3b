//! What a run keeps, and what it refuses.

mod tiny_run;

use std::fs;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_train::{
    Checkpoint, CheckpointChoice, ExperimentConfig, Outcome, Provenance, RunFolder, TrainError,
    Trainer, WeightsChoice,
};
use tiny_run::{Silent, config, run};

fn train(config: ExperimentConfig, folder: &RunFolder) -> Result<Outcome, TrainError> {
    let device = Device::flex();
    run(config, folder, &device, Interrupter::new(), &mut Silent)
}

fn steps(folder: &RunFolder) -> Vec<usize> {
    Checkpoint::list(&folder.checkpoints())
        .expect("a readable folder")
        .iter()
        .map(|checkpoint| checkpoint.step)
        .collect()
}

#[test]
fn the_newest_and_the_best_checkpoints_are_kept() {
    let temporary = tempfile::tempdir().unwrap();
    // The learning rate rises without end: the loss falls first, and soon rises.
    let overrides = [
        "training.n_steps=40",
        "training.checkpoint_every=4",
        "training.keep_checkpoints=2",
        "training.keep_best=1",
        "evaluation.every=4",
        "optimizer.learning_rate=1.0",
        "optimizer.warmup_steps=40",
        "optimizer.ema_decay=0",
    ];
    let folder = RunFolder::new(temporary.path().join("run"));
    train(config(temporary.path(), &overrides), &folder).unwrap();
    let best = folder.checkpoint(CheckpointChoice::Best).unwrap();
    assert!(best.step < 36, "{}", best.step);
    assert_eq!(steps(&folder), [best.step, 36, 40]);
    let nll = |checkpoint: &Checkpoint| checkpoint.validation().unwrap().unwrap().nll;
    let last = folder.checkpoint(CheckpointChoice::Last).unwrap();
    assert!(nll(&best) < nll(&last));
    let loaded = folder
        .load(
            CheckpointChoice::Best,
            WeightsChoice::Average,
            &Device::flex(),
        )
        .unwrap();
    assert_eq!(loaded.model.step, best.step);
    let error = folder.checkpoint(CheckpointChoice::Step(5)).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("no checkpoint `5`") && message.contains("36, 40"),
        "{message}"
    );
    for step in (4..40).step_by(4) {
        let file = folder
            .samples_of_validations()
            .join(format!("step-{step:08}.txt"));
        assert!(file.is_file(), "{}", file.display());
    }
}

#[test]
fn leftovers_of_an_interrupted_save_are_removed() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    let leftover = folder.checkpoints().join(".step-00000003.tmp");
    fs::create_dir_all(&leftover).unwrap();
    fs::write(leftover.join("model.bpk"), "half").unwrap();
    train(config(temporary.path(), &[]), &folder).unwrap();
    assert!(!leftover.exists());
    assert_eq!(steps(&folder), [4, 8]);
}

#[test]
fn a_run_can_be_read_while_it_deletes_checkpoints() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    let overrides = [
        "training.n_steps=80",
        "training.checkpoint_every=1",
        "training.keep_checkpoints=1",
        "training.keep_best=1",
        "evaluation.every=2",
        "evaluation.n_samples=0",
    ];
    let config = config(temporary.path(), &overrides);
    let writer = folder.clone();
    let training = std::thread::spawn(move || train(config, &writer).map(drop));
    while folder.latest_checkpoint().unwrap().is_none() {
        assert!(!training.is_finished());
        std::thread::yield_now();
    }
    let mut steps = Vec::new();
    while !training.is_finished() {
        let device = Device::flex();
        let last = folder.load(CheckpointChoice::Last, WeightsChoice::Average, &device);
        steps.push(last.unwrap().model.step);
    }
    training.join().unwrap().unwrap();
    steps.dedup();
    // Never an old one, although the best one is kept.
    assert!(steps.is_sorted(), "{steps:?}");
    assert!(steps.len() > 3, "{steps:?}");
}

#[test]
fn a_damaged_checkpoint_is_refused_and_says_how() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    train(config(temporary.path(), &[]), &folder).unwrap();
    let last = folder.checkpoint(CheckpointChoice::Last).unwrap();
    let path = last.path.join("model.bpk");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let longer = config(temporary.path(), &["training.n_steps=12"]);
    let error = train(longer.clone(), &folder).unwrap_err().to_string();
    assert!(
        error.contains("model.bpk") && error.contains("SHA-256"),
        "{error}"
    );
    // The one before is intact, and the run goes on from there once the damaged one is gone.
    fs::remove_dir_all(&last.path).unwrap();
    assert!(matches!(
        train(longer, &folder),
        Ok(Outcome::Finished { .. })
    ));

    let state = folder
        .checkpoint(CheckpointChoice::Last)
        .unwrap()
        .path
        .join("state.json");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(
        &state,
        text.replace("\"format_version\": 2", "\"format_version\": 99"),
    )
    .unwrap();
    let even_longer = config(temporary.path(), &["training.n_steps=16"]);
    let error = train(even_longer, &folder).unwrap_err().to_string();
    assert!(error.contains("format version is 99"), "{error}");
}

#[test]
fn a_checkpoint_of_another_shape_names_the_tensor() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    train(config(temporary.path(), &[]), &folder).unwrap();
    let path = folder.root().join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("d_model = 16", "d_model = 32")).unwrap();
    let error = folder
        .load(
            CheckpointChoice::Last,
            WeightsChoice::Average,
            &Device::flex(),
        )
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("ema.bpk") && error.contains("token_embedding"),
        "{error}"
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    fs::write(&file, "").unwrap();
    let error = train(
        config(temporary.path(), &[]),
        &RunFolder::new(file.join("run")),
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("cannot") && error.contains("file/run"),
        "{error}"
    );
}

#[test]
fn a_falling_learning_rate_ties_the_run_to_its_number_of_steps() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    let cosine = "optimizer.schedule=cosine";
    train(config(temporary.path(), &[cosine]), &folder).unwrap();
    let longer = config(temporary.path(), &[cosine, "training.n_steps=12"]);
    let error = train(longer, &folder).unwrap_err();
    assert!(
        matches!(&error, TrainError::OtherRun { key, .. } if key == "training.n_steps"),
        "{error}"
    );
}

#[test]
fn each_start_is_noted_with_its_program() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    for n_steps in ["training.n_steps=4", "training.n_steps=8"] {
        let provenance = Provenance {
            commit: "abc".into(),
            ..Default::default()
        };
        let mut silent = Silent;
        Trainer::new(
            config(temporary.path(), &[n_steps]),
            folder.clone(),
            Device::flex(),
            Interrupter::new(),
            &mut silent,
        )
        .with_provenance(provenance)
        .run()
        .unwrap();
    }
    let text = fs::read_to_string(folder.history()).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["from_step"], 4);
    assert_eq!(lines[1]["commit"], "abc");
}
