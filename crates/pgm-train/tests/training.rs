//! Whole runs: every objective learns, bad input is refused.

mod tiny_run;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_train::{
    CheckpointChoice, ExperimentConfig, MetricRecord, MetricsLog, Outcome, RunFolder, TrainError,
    WeightsChoice,
};
use tiny_run::{Silent, config, run};

fn losses(folder: &RunFolder) -> Vec<(usize, f64)> {
    MetricsLog::read(&folder.metrics())
        .expect("metrics")
        .iter()
        .filter_map(|record| match record {
            MetricRecord::Train { step, loss, .. } => Some((*step, *loss)),
            _ => None,
        })
        .collect()
}

#[test]
fn every_objective_starts_at_a_uniform_guess_and_learns() {
    for objective in ["pgm", "mdlm", "complement-mdlm", "ar"] {
        let temporary = tempfile::tempdir().unwrap();
        let kind = format!("objective.kind={objective}");
        let overrides = [
            kind.as_str(),
            "training.n_steps=60",
            "objective.weighting=low_variance",
        ];
        let config = config(temporary.path(), &overrides);
        let folder = RunFolder::new(temporary.path().join("run"));
        let outcome = run(
            config,
            &folder,
            &Device::flex(),
            Interrupter::new(),
            &mut Silent,
        )
        .unwrap();
        let Outcome::Finished {
            validation,
            samples,
        } = outcome
        else {
            panic!("{objective} did not finish");
        };
        let losses = losses(&folder);
        // 270 tokens without MASK.
        assert!((losses[0].1 - 270f64.ln()).abs() < 0.01, "{:?}", losses[0]);
        assert!(
            validation.nll < 0.8 * 270f64.ln(),
            "{objective}: {validation:?}"
        );
        assert_eq!(validation.n_draws == 0, objective == "ar");
        assert_eq!(samples.len(), 2);
        for file in [folder.metrics(), folder.loss_curve(), folder.samples()] {
            assert!(file.is_file(), "{}", file.display());
        }
    }
}

/// The first step has learning rate 0, so that the network which is validated is the one that was trained.
#[test]
fn training_and_validation_show_one_unit_whatever_the_weights() {
    for (objective, weighting, weight) in [
        ("pgm", "low_variance", Some(0.5)),
        ("pgm", "elbo", None),
        ("pgm", "elbo_floored", None),
        ("mdlm", "low_variance", None),
        ("mdlm", "elbo", None),
        ("complement-mdlm", "low_variance", Some(0.5)),
        ("complement-mdlm", "elbo", None),
        ("ar", "elbo", Some(1.0)),
    ] {
        let temporary = tempfile::tempdir().unwrap();
        let kind = format!("objective.kind={objective}");
        let weighting = format!("objective.weighting={weighting}");
        let overrides = [
            kind.as_str(),
            weighting.as_str(),
            "training.n_steps=1",
            "evaluation.n_samples_at_end=0",
            "evaluation.n_draws=32",
        ];
        let folder = RunFolder::new(temporary.path().join("run"));
        let config = config(temporary.path(), &overrides);
        let never = Interrupter::new();
        let outcome = run(config, &folder, &Device::flex(), never, &mut Silent).unwrap();
        let Outcome::Finished { validation, .. } = outcome else {
            panic!("{overrides:?} did not finish");
        };
        let records = MetricsLog::read(&folder.metrics()).unwrap();
        let Some(MetricRecord::Train {
            loss, mean_weight, ..
        }) = records.first()
        else {
            panic!("no step: {records:?}");
        };
        // 270 tokens without MASK, equally likely.
        assert!((loss - 270f64.ln()).abs() < 1e-3, "{overrides:?}: {loss}");
        let difference = (validation.nll - loss).abs();
        let error = validation.nll_standard_error;
        assert!(
            difference < 4.42 * error + 0.01,
            "{overrides:?}: {validation:?}"
        );
        assert!(validation.nll > 0.8 * loss, "{overrides:?}: {validation:?}");
        if weight.is_some() {
            assert_eq!(*mean_weight, weight, "{overrides:?}");
        }
    }
}

#[test]
fn another_configuration_in_the_same_folder_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    let device = Device::flex();
    let first = config(temporary.path(), &[]);
    run(first, &folder, &device, Interrupter::new(), &mut Silent).unwrap();
    let second = config(temporary.path(), &["model.d_model=32"]);
    let error = run(second, &folder, &device, Interrupter::new(), &mut Silent).unwrap_err();
    assert!(
        matches!(&error, TrainError::OtherRun { key, .. } if key == "model.d_model"),
        "{error}"
    );
}

#[test]
fn a_diverging_run_stops_and_names_the_last_good_checkpoint() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    let overrides = [
        "optimizer.learning_rate=1e38",
        "optimizer.warmup_steps=6",
        "training.n_steps=40",
        "training.checkpoint_every=1",
    ];
    let config = config(temporary.path(), &overrides);
    let error = run(
        config,
        &folder,
        &Device::flex(),
        Interrupter::new(),
        &mut Silent,
    )
    .unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, TrainError::Diverged { .. }), "{message}");
    assert!(message.contains("the last good checkpoint is"), "{message}");
}

#[test]
fn a_folder_without_a_run_is_refused_with_the_way_out() {
    let temporary = tempfile::tempdir().unwrap();
    let error = RunFolder::new(temporary.path())
        .load(
            CheckpointChoice::Last,
            WeightsChoice::Average,
            &Device::flex(),
        )
        .unwrap_err();
    assert!(error.to_string().contains("train first"), "{error}");
}

#[test]
fn another_tokenizer_than_the_run_s_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let shared = temporary.path().join("shared");
    let folder_setting = format!("data.folder='{}'", shared.display());
    let config = config(temporary.path(), &[&folder_setting]);
    let device = Device::flex();
    let folder = RunFolder::new(temporary.path().join("run"));
    let start = |steps: usize| {
        let mut config = config.clone();
        config.training.n_steps = steps;
        run(config, &folder, &device, Interrupter::new(), &mut Silent)
    };
    start(4).unwrap();
    assert!(folder.validation_set(&config).is_ok());

    // Other text gives other merges.
    let text = temporary.path().join("text.txt");
    std::fs::write(&text, "Zebras zigzag; zebras buzz.\n\n".repeat(200)).unwrap();
    let error = start(8).unwrap_err();
    assert!(
        matches!(error, TrainError::OtherTokenizer { .. }),
        "{error}"
    );
    let error = folder.validation_set(&config).unwrap_err().to_string();
    assert!(error.contains("another tokenizer"), "{error}");
}

#[test]
fn other_text_than_the_run_s_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let gpt2 = "data.tokenizer='gpt2'";
    let first = config(temporary.path(), &[gpt2, "training.n_steps=4"]);
    let mut longer = first.clone();
    longer.training.n_steps = 6;
    let folder = RunFolder::new(temporary.path().join("run"));
    let start = |config: &ExperimentConfig| {
        let device = Device::flex();
        run(
            config.clone(),
            &folder,
            &device,
            Interrupter::new(),
            &mut Silent,
        )
    };
    start(&first).unwrap();
    let text = temporary.path().join("text.txt");
    let before = std::fs::read(&text).unwrap();
    std::fs::write(&text, "Other words with the same tokenizer. ".repeat(100)).unwrap();
    let error = start(&longer).unwrap_err();
    assert!(matches!(error, TrainError::OtherData { .. }), "{error}");
    std::fs::write(&text, before).unwrap();
    start(&longer).unwrap();
}
