//! Runs that begin with the weights of another model.

mod tiny_run;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_perplexity::{EvaluationTimes, Perplexity};
use pgm_train::{
    CheckpointChoice, ExperimentConfig, LoadedModel, LoadedRun, MetricRecord, MetricsLog, Outcome,
    RunFolder, StartingWeights, TrainError, Trainer, WeightsChoice, WeightsNote, WeightsOrigin,
};
use pgm_weights::{StoredDtype, WeightsExport, WeightsFile, WeightsFormat};
use tempfile::TempDir;
use tiny_run::{Silent, config, run};

/// A model that has learned something, in its folder.
static SOURCE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let overrides = [
        "training.n_steps=60",
        "training.checkpoint_every=60",
        "model.dropout=0.0",
        "sampling.temperature=0.5",
        "objective.weighting=low_variance",
    ];
    let run_folder = RunFolder::new(folder.path().join("run"));
    let config = config(folder.path(), &overrides);
    let device = Device::flex();
    run(
        config,
        &run_folder,
        &device,
        Interrupter::new(),
        &mut Silent,
    )
    .expect("it trains");
    folder
});

fn source() -> LoadedRun {
    RunFolder::new(SOURCE.path().join("run"))
        .load(
            CheckpointChoice::Last,
            WeightsChoice::Average,
            &Device::flex(),
        )
        .expect("a run")
}

fn start(source: LoadedRun, change: impl FnOnce(&mut WeightsOrigin)) -> StartingWeights {
    let mut origin = WeightsOrigin {
        source: "a model".into(),
        checkpoint: Some("last".into()),
        step: source.model.step,
        weights: "averaged".into(),
        sha256: "00".into(),
    };
    change(&mut origin);
    StartingWeights {
        network: source.model.network,
        tokenizer: source.model.tokenizer,
        origin,
    }
}

/// A run of few steps on other text.
fn inheriting(folder: &Path, overrides: &[&str]) -> Result<ExperimentConfig, TrainError> {
    let text = folder.join("other.txt");
    fs::write(&text, "Call me! It was white; ".repeat(200)).expect("a file");
    let toml = format!(
        "name = \"on\"\n[data]\ninputs = ['{}']\n[training]\nn_steps = 2\nbatch_size = 4\nlog_every = 1\n\
         [evaluation]\nn_sequences = 4\nn_samples_at_end = 0\n[optimizer]\nwarmup_steps = 0\nema_decay = 0.0",
        text.display()
    );
    let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
    ExperimentConfig::inheriting(&source().model, "a model", &toml, &overrides)
}

fn train(
    mut config: ExperimentConfig,
    folder: &RunFolder,
    interrupter: Interrupter,
    start: Option<StartingWeights>,
) -> Result<Outcome, TrainError> {
    config.data.tokenizer = folder.tokenizer_of_weights(&source().model.tokenizer);
    let mut silent = Silent;
    let trainer = Trainer::new(
        config,
        folder.clone(),
        Device::flex(),
        interrupter,
        &mut silent,
    );
    match start {
        Some(start) => trainer.with_start(start).run(),
        None => trainer.run(),
    }
}

fn first_loss(folder: &RunFolder) -> f64 {
    let records = MetricsLog::read(&folder.metrics()).expect("metrics");
    let loss = |record: &MetricRecord| match record {
        MetricRecord::Train { step: 1, loss, .. } => Some(*loss),
        _ => None,
    };
    records.iter().find_map(loss).expect("a first step")
}

#[test]
fn a_run_begins_with_the_loss_of_its_source() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    // Steps of 1e-30 change no weight of 32 bits: what is validated in the end is what the run began with.
    let config = inheriting(temporary.path(), &["optimizer.learning_rate=1e-30"]).unwrap();
    let begun = start(source(), |_| {});
    let outcome = train(config.clone(), &folder, Interrupter::new(), Some(begun)).unwrap();
    let Outcome::Finished { validation, .. } = outcome else {
        panic!("the run was not stopped: {outcome:?}");
    };
    let source = source();
    let rows = folder
        .validation_set(&folder.config().unwrap().unwrap())
        .unwrap();
    let expected = Perplexity {
        n_sequences: None,
        n_draws: config.evaluation.n_draws,
        times: EvaluationTimes::Published,
        batch_size: config.evaluation.batch_size,
        seed: config.seed,
        mask_token: source.model.mask_token,
    }
    .estimate(
        &source.model.network,
        &rows,
        &Device::flex(),
        &mut Vec::new(),
        &mut |_, _| ControlFlow::Continue(()),
    )
    .unwrap();
    assert_eq!(validation.nll, expected.nll);

    let random = RunFolder::new(temporary.path().join("random"));
    let mut from_nothing = config;
    from_nothing.data.tokenizer =
        pgm_data::TokenizerSpec::File(SOURCE.path().join("run/tokenizer.json"));
    let device = Device::flex();
    run(
        from_nothing,
        &random,
        &device,
        Interrupter::new(),
        &mut Silent,
    )
    .unwrap();
    let (begun, random) = (first_loss(&folder), first_loss(&random));
    // On the same rows, with the same partition.
    assert!(begun < 0.8 * random, "{begun} and {random}");
}

#[test]
fn what_goes_with_the_weights_is_taken_over_and_the_rest_is_not() {
    let temporary = tempfile::tempdir().unwrap();
    let overrides = ["model.dropout=0.2", "sampling.n_steps=9", "data.seq_len=20"];
    let config = inheriting(temporary.path(), &overrides).unwrap();
    let source = source();
    let model = pgm_train::ModelSection {
        dropout: 0.2,
        ..source.config.model.clone()
    };
    assert_eq!(config.model, model);
    assert_eq!(config.objective, source.config.objective);
    assert_eq!((config.data.seq_len, config.sampling.n_steps), (20, 9));
    assert_eq!(config.sampling.temperature, 0.5);
    assert_eq!(config.name, "on");
    assert_eq!(config.optimizer.beta_2, 0.999);
    let usual = inheriting(temporary.path(), &[]).unwrap();
    assert_eq!(usual.data.seq_len, source.config.data.seq_len);
    // The run keeps the tokenizer, so that it is there when the source is not.
    let folder = RunFolder::new(temporary.path().join("run"));
    train(
        usual,
        &folder,
        Interrupter::new(),
        Some(start(source, |_| {})),
    )
    .unwrap();
    let kept = folder
        .load(CheckpointChoice::Last, WeightsChoice::Raw, &Device::flex())
        .unwrap();
    assert_eq!(
        kept.model.tokenizer.fingerprint(),
        self::source().model.tokenizer.fingerprint()
    );
    assert_eq!(folder.weights_origin().unwrap().unwrap().source, "a model");
}

#[test]
fn another_network_objective_or_tokenizer_is_refused_with_both_values() {
    let temporary = tempfile::tempdir().unwrap();
    let other = SOURCE.path().join("run/tokenizer.json");
    let same = format!("data.tokenizer={}", other.display());
    for allowed in ["data.tokenizer=bpe-270", &same, "model.n_blocks=7"] {
        inheriting(temporary.path(), &[allowed]).unwrap();
    }
    for (setting, words) in [
        (
            "model.d_model=32",
            "`model.d_model` is 32, and 16 for the weights of `a model`",
        ),
        (
            "model.n_encoder_blocks=2",
            "`model.n_encoder_blocks` is 2, and 1",
        ),
        (
            "objective.kind=mdlm",
            "`objective.kind` is `mdlm`, and `pgm`",
        ),
        (
            "data.tokenizer=gpt2",
            "`data.tokenizer` is `gpt2`, and `bpe-270`",
        ),
        ("data.tokenizer=bpe-300", "is `bpe-300`, and `bpe-270`"),
        ("model.d_modle=16", "did you mean `d_model`?"),
    ] {
        let error = inheriting(temporary.path(), &[setting]).unwrap_err();
        assert!(error.to_string().contains(words), "{setting}: {error}");
    }
}

#[test]
fn a_run_goes_on_with_its_own_weights_only() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    let go = |n_steps: usize, start| {
        let n_steps = format!("training.n_steps={n_steps}");
        let config = inheriting(temporary.path(), &[&n_steps]).expect("a configuration");
        train(config, &folder, Interrupter::new(), start)
    };
    let named = |change: fn(&mut WeightsOrigin)| Some(start(source(), change));
    go(2, named(|_| {})).unwrap();
    for (change, words) in [
        (
            (|origin| origin.source = "another".into()) as fn(&mut WeightsOrigin),
            "began with the weights of `a model`, checkpoint last (averaged weights), and not of `another`",
        ),
        (
            |origin| origin.checkpoint = Some("best".into()),
            "not of `a model`, checkpoint best",
        ),
        (|origin| origin.weights = "raw".into(), "(raw weights)"),
        (
            |origin| origin.sha256 = "11".into(),
            "have changed since (their SHA-256 is 11, it was 00)",
        ),
    ] {
        let error = go(3, named(change)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    // The source was trained on: its last checkpoint is another one, and this run goes on.
    go(
        3,
        named(|origin| {
            origin.step = 99;
            origin.sha256 = "11".into();
        }),
    )
    .unwrap();
    go(4, None).unwrap();
    assert_eq!(folder.latest_checkpoint().unwrap().unwrap().step, 4);
    assert_eq!(folder.weights_origin().unwrap().unwrap().step, 60);

    let random = RunFolder::new(temporary.path().join("random"));
    let own = config(temporary.path(), &["training.n_steps=1"]);
    let device = Device::flex();
    run(
        own.clone(),
        &random,
        &device,
        Interrupter::new(),
        &mut Silent,
    )
    .unwrap();
    let mut silent = Silent;
    let error = Trainer::new(own, random, device, Interrupter::new(), &mut silent)
        .with_start(start(source(), |_| {}))
        .run()
        .unwrap_err()
        .to_string();
    assert!(error.contains("began with random weights"), "{error}");
}

#[test]
fn a_run_without_a_step_still_wants_its_weights() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::new(temporary.path().join("run"));
    let config = inheriting(temporary.path(), &[]).unwrap();
    let stopped = Interrupter::new();
    stopped.stop(None);
    let begun = Some(start(source(), |_| {}));
    let outcome = train(config.clone(), &folder, stopped, begun).unwrap();
    assert_eq!(outcome, Outcome::Interrupted { step: 0 });
    let error = train(config.clone(), &folder, Interrupter::new(), None).unwrap_err();
    assert!(
        error.to_string().contains("and has no checkpoint yet"),
        "{error}"
    );
    let begun = Some(start(source(), |_| {}));
    train(config, &folder, Interrupter::new(), begun).unwrap();
    folder.lock().unwrap().clear(&[]).unwrap();
    assert_eq!(folder.weights_origin().unwrap(), None);
}

#[test]
fn a_file_says_what_its_run_was() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("model.safetensors");
    let source = source();
    let note = WeightsNote::from_model(&source.model);
    let export = WeightsExport {
        dtype: StoredDtype::F16,
        notes: [note.pair()].into(),
        ..WeightsExport::new(WeightsFormat::Safetensors)
    };
    export
        .save(&source.model.network, &source.model.network_config(), &path)
        .unwrap();
    let open = |seq_len| {
        let file = WeightsFile::open(&path, WeightsChoice::Average).expect("a file");
        let tokenizer = source.model.tokenizer.clone();
        LoadedModel::from_weights(&path, &file, tokenizer, seq_len, None, &Device::flex())
    };
    let loaded = open(None).unwrap();
    assert_eq!(loaded.description.name, "tiny");
    assert_eq!((loaded.step, loaded.description.seq_len), (60, 16));
    assert_eq!(loaded.description.sampling, source.config.sampling);
    assert_eq!(loaded.description.objective, source.config.objective);
    assert_eq!(loaded.description.tokenizer, source.config.data.tokenizer);
    // What is said on the spot wins.
    assert_eq!(open(Some(24)).unwrap().description.seq_len, 24);

    let plain = WeightsExport::new(WeightsFormat::Safetensors);
    plain
        .save(&source.model.network, &source.model.network_config(), &path)
        .unwrap();
    let loaded = open(None).unwrap();
    assert_eq!((loaded.step, loaded.description.seq_len), (0, 1024));
    assert_eq!(loaded.description.name, "model");

    let damaged = WeightsExport {
        notes: [(WeightsNote::KEY.to_owned(), "{\"name\": 3}".to_owned())].into(),
        ..plain
    };
    damaged
        .save(&source.model.network, &source.model.network_config(), &path)
        .unwrap();
    let error = open(None).unwrap_err().to_string();
    assert!(
        error.contains("model.safetensors") && error.contains("cannot be understood"),
        "{error}"
    );
}
