//! A stopped run goes on exactly. Alone in their file, and one after the other: dropout draws from the device's
//! generator, which all threads of a process share.

mod tiny_run;

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_data::TokenBatch;
use pgm_train::{
    ExperimentConfig, MetricRecord, MetricsLog, ObjectiveTraining, Outcome, RunFolder, StepReport,
    TrainError, Trainer, TrainingEvent, TrainingMethod, TrainingObserver, TrainingState,
};
use tiny_run::{Silent, config, run};

/// Held by the test that trains.
static TRAINING: Mutex<()> = Mutex::new(());

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

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not_stopped() {
    let _alone = TRAINING.lock().unwrap_or_else(PoisonError::into_inner);
    for objective in ["objective.kind=pgm", "objective.kind=mdlm"] {
        let temporary = tempfile::tempdir().unwrap();
        let config = config(temporary.path(), &[objective]);
        let device = Device::flex();
        let whole = RunFolder::new(temporary.path().join("whole"));
        let finished = run(
            config.clone(),
            &whole,
            &device,
            Interrupter::new(),
            &mut Silent,
        )
        .unwrap();

        let parts = RunFolder::new(temporary.path().join("parts"));
        let interrupter = Interrupter::new();
        let mut stop = StopAfter {
            step: 5,
            interrupter: interrupter.clone(),
        };
        let stopped = run(config.clone(), &parts, &device, interrupter, &mut stop).unwrap();
        assert_eq!(stopped, Outcome::Interrupted { step: 5 });
        let resumed = run(config, &parts, &device, Interrupter::new(), &mut Silent).unwrap();

        assert_eq!(losses(&whole), losses(&parts), "bit by bit");
        assert_eq!(finished, resumed);
    }
}

/// Stops the run when the first part of the step after `step` others is done.
struct StopWithin {
    step: usize,
    interrupter: Interrupter,
}

impl TrainingMethod for StopWithin {
    fn advance(
        &mut self,
        state: &mut TrainingState,
        config: &ExperimentConfig,
        batch: &TokenBatch,
        device: &Device,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<StepReport, TrainError> {
        let is_last = state.step == self.step;
        let mut n_asked = 0;
        let mut stop = || {
            n_asked += 1;
            if is_last && n_asked == 2 {
                self.interrupter.stop(None);
            }
            go_on()
        };
        ObjectiveTraining.advance(state, config, batch, device, &mut stop)
    }
}

#[test]
fn a_step_that_was_stopped_within_is_done_anew() {
    let _alone = TRAINING.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = tempfile::tempdir().unwrap();
    // Two parts a step; checkpoints after 4 and 8.
    let config = config(temporary.path(), &["training.micro_batch_size=2"]);
    let device = Device::flex();
    let go = |folder: &RunFolder| {
        let never = Interrupter::new();
        run(config.clone(), folder, &device, never, &mut Silent).unwrap()
    };
    let whole = RunFolder::new(temporary.path().join("whole"));
    let finished = go(&whole);

    for step in [0, 5] {
        let parts = RunFolder::new(temporary.path().join(format!("parts-{step}")));
        let interrupter = Interrupter::new();
        let method = StopWithin {
            step,
            interrupter: interrupter.clone(),
        };
        let stopped = Trainer::new(
            config.clone(),
            parts.clone(),
            device.clone(),
            interrupter,
            &mut Silent,
        )
        .with_method(method)
        .run()
        .unwrap();
        assert_eq!(stopped, Outcome::Interrupted { step });
        let saved = parts.latest_checkpoint().unwrap();
        assert_eq!(saved.map_or(0, |saved| saved.step), step);
        assert_eq!(losses(&parts).len(), step);

        assert_eq!(go(&parts), finished);
        assert_eq!(losses(&whole), losses(&parts), "bit by bit");
    }
}
