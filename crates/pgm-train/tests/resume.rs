//! A stopped run goes on exactly. Alone in its file: dropout draws from the device's generator,
//! which all threads of a process share.

mod tiny_run;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_train::{MetricRecord, MetricsLog, Outcome, RunFolder, TrainingEvent, TrainingObserver};
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
