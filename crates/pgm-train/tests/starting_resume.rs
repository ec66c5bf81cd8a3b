//! A stopped run that began with the weights of another goes on exactly. Alone in its file: dropout draws from the
//! device's generator, which all threads of a process share.

mod tiny_run;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_train::{
    CheckpointChoice, ExperimentConfig, LoadedRun, MetricRecord, MetricsLog, Outcome, RunFolder,
    StartingWeights, Trainer, TrainingEvent, TrainingObserver, WeightsChoice, WeightsOrigin,
};
use tiny_run::{Silent, config, run};

fn losses(folder: &RunFolder) -> Vec<(usize, f64)> {
    let records = MetricsLog::read(&folder.metrics()).expect("metrics");
    let loss = |record: &MetricRecord| match record {
        MetricRecord::Train { step, loss, .. } => Some((*step, *loss)),
        _ => None,
    };
    records.iter().filter_map(loss).collect()
}

/// Stops the run after a step, as Ctrl-C does.
struct StopAfter {
    step: usize,
    interrupter: Interrupter,
}

impl TrainingObserver for StopAfter {
    fn on_event(&mut self, event: TrainingEvent) {
        if matches!(event, TrainingEvent::Step { step, .. } if step == self.step) {
            self.interrupter.stop(None);
        }
    }
}

fn start(source: &LoadedRun) -> StartingWeights {
    StartingWeights {
        network: source.model.network.clone(),
        tokenizer: source.model.tokenizer.clone(),
        origin: WeightsOrigin {
            source: "source".into(),
            checkpoint: Some("last".into()),
            step: source.model.step,
            weights: "averaged".into(),
            sha256: "00".into(),
        },
    }
}

#[test]
fn a_stopped_run_does_not_begin_with_the_weights_again() {
    let temporary = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let at = |name: &str| RunFolder::new(temporary.path().join(name));
    let base = config(temporary.path(), &[]);
    run(
        base,
        &at("source"),
        &device,
        Interrupter::new(),
        &mut Silent,
    )
    .unwrap();
    let source = at("source")
        .load(CheckpointChoice::Last, WeightsChoice::Average, &device)
        .unwrap();
    let text = temporary.path().join("other.txt");
    std::fs::write(&text, "Call me! It was white; ".repeat(200)).unwrap();
    let toml = format!(
        "name = \"on\"\n[data]\ninputs = ['{}']\n[training]\nn_steps = 8\nbatch_size = 4\nlog_every = 1\n\
         checkpoint_every = 4\n[evaluation]\nn_sequences = 4\nn_samples_at_end = 1\n[optimizer]\nwarmup_steps = 2\n\
         ema_decay = 0.9",
        text.display()
    );
    // Another dropout than the source's: it counts from the first step on.
    let dropout = ["model.dropout=0.3".to_owned()];
    let config = ExperimentConfig::inheriting(&source.model, "source", &toml, &dropout).unwrap();
    let go = |folder: &RunFolder, interrupter, observer: &mut dyn TrainingObserver, is_named| {
        let mut config = config.clone();
        config.data.tokenizer = folder.tokenizer_of_weights(&source.model.tokenizer);
        let trainer = Trainer::new(
            config,
            folder.clone(),
            device.clone(),
            interrupter,
            observer,
        );
        if is_named {
            trainer.with_start(start(&source)).run()
        } else {
            trainer.run()
        }
    };
    let whole = go(&at("whole"), Interrupter::new(), &mut Silent, true).unwrap();
    // The second call names the weights, as the same command does, or leaves them out.
    for is_named in [true, false] {
        let parts = at(&format!("parts-{is_named}"));
        let interrupter = Interrupter::new();
        let mut stop = StopAfter {
            step: 5,
            interrupter: interrupter.clone(),
        };
        let stopped = go(&parts, interrupter, &mut stop, true).unwrap();
        assert_eq!(stopped, Outcome::Interrupted { step: 5 });
        let resumed = go(&parts, Interrupter::new(), &mut Silent, is_named).unwrap();
        assert_eq!(losses(&at("whole")), losses(&parts), "bit by bit");
        assert_eq!(whole, resumed);
    }
}
