//! Distillations of seconds: a stopped one goes on exactly, another one is refused. Alone in its file: dropout draws
//! from the device's generator, which all threads of a process share.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_distill::{DistillConfig, Distiller, RoundRecord};
use pgm_train::{
    Checkpoint, CheckpointChoice, ExperimentConfig, MetricRecord, MetricsLog, Outcome, RunFolder,
    TrainError, Trainer, TrainingEvent, TrainingObserver, WeightsChoice,
};
use pgm_weights::WeightsFormat;

/// Stops the run after a step, as Ctrl-C does.
struct StopAfter {
    step: usize,
    interrupter: Interrupter,
}

impl StopAfter {
    fn new(step: usize) -> Self {
        Self {
            step,
            interrupter: Interrupter::new(),
        }
    }
}

impl TrainingObserver for StopAfter {
    fn on_event(&mut self, event: TrainingEvent) {
        if matches!(event, TrainingEvent::Step { step, .. } if step == self.step) {
            self.interrupter.stop(None);
        }
    }
}

const NEVER: usize = usize::MAX;

fn train_teacher(root: &Path, objective: &str) -> RunFolder {
    let text = root.join("text.txt");
    let sentences = [
        "The whale is white. ",
        "Call me Ishmael! ",
        "It was a dark sea; ",
    ];
    let content: String = (0..600).map(|i| sentences[(i * i + i / 7) % 3]).collect();
    std::fs::write(&text, content).unwrap();
    let config = ExperimentConfig::from_toml(
        &format!(
            "name = 'teacher'\n[data]\ninputs = ['{}']\ntokenizer = 'bpe-270'\nseq_len = 16\n\
             [model]\nd_model = 16\nn_heads = 2\nn_encoder_blocks = 1\nn_decoder_blocks = 1\nn_blocks = 2\n\
             cond_dim = 8\n[optimizer]\nlearning_rate = 1e-2\nwarmup_steps = 2\n\
             [training]\nn_steps = 6\nbatch_size = 4\n[evaluation]\nn_sequences = 8\nn_samples_at_end = 0\n",
            text.display()
        ),
        &[format!("objective.kind={objective}")],
    )
    .unwrap();
    let folder = RunFolder::new(root.join("teacher"));
    let mut never = StopAfter::new(NEVER);
    let device = Device::flex();
    Trainer::new(
        config,
        folder.clone(),
        device,
        Interrupter::new(),
        &mut never,
    )
    .run()
    .unwrap();
    folder
}

/// From a run.
fn distill(
    teacher: &RunFolder,
    student: &RunFolder,
    overrides: &[&str],
    stop_after: usize,
) -> Result<Outcome, TrainError> {
    let teacher = format!("run = '{}'\nweights = 'average'", teacher.root().display());
    distill_from(&teacher, student, overrides, stop_after)
}

/// Two rounds of four steps.
fn distill_from(
    teacher: &str,
    student: &RunFolder,
    overrides: &[&str],
    stop_after: usize,
) -> Result<Outcome, TrainError> {
    let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
    let config = DistillConfig::from_toml(
        &format!(
            "name = 'student'\nseed = 4\n[teacher]\n{teacher}\n\
             [distillation]\nsteps_per_round = 4\nn_rounds = 2\nfirst_sampling_steps = 16\nmin_sampling_steps = 2\n\
             [optimizer]\nlearning_rate = 1e-2\nwarmup_steps = 2\n\
             [training]\nbatch_size = 4\nmicro_batch_size = 2\nlog_every = 1\ncheckpoint_every = 3\n\
             keep_checkpoints = 1\n[evaluation]\nn_sequences = 8\nn_samples_at_end = 1\n[sampling]\nn_steps = 4\n",
        ),
        &overrides,
    )?;
    let mut observer = StopAfter::new(stop_after);
    let interrupter = observer.interrupter.clone();
    Distiller::new(
        config,
        student.clone(),
        Device::flex(),
        interrupter,
        &mut observer,
    )
    .run()
}

fn losses(folder: &RunFolder) -> Vec<(usize, f64)> {
    let records = MetricsLog::read(&folder.metrics()).unwrap();
    let losses = records.iter().filter_map(|record| match record {
        MetricRecord::Train { step, loss, .. } => Some((*step, *loss)),
        _ => None,
    });
    losses.collect()
}

/// Number, sampling steps of teacher and student, last step and loss of each round.
fn rounds(folder: &RunFolder) -> Vec<(usize, usize, usize, usize, f64)> {
    let records = MetricsLog::read(&folder.metrics()).unwrap();
    let rounds = RoundRecord::list(&records).into_iter();
    let rounds = rounds.map(|RoundRecord { step, round, loss }| {
        (
            round.round,
            round.teacher_sampling_steps,
            round.student_sampling_steps,
            step,
            loss,
        )
    });
    rounds.collect()
}

fn steps(folder: &RunFolder) -> Vec<usize> {
    let checkpoints = Checkpoint::list(&folder.checkpoints()).unwrap();
    checkpoints
        .iter()
        .map(|checkpoint| checkpoint.step)
        .collect()
}

/// One test, as both parts draw from the device's generator.
#[test]
fn distillations_go_on_and_other_runs_are_refused() {
    a_stopped_distillation_goes_on_as_if_it_had_not_stopped();
    a_run_that_is_no_distillation_is_not_gone_on_with();
    a_file_with_weights_teaches_what_its_run_does();
}

fn a_stopped_distillation_goes_on_as_if_it_had_not_stopped() {
    for (objective, settings) in [
        (
            "pgm",
            [
                "distillation.directions=both",
                "distillation.next_teacher=raw",
            ],
        ),
        (
            "pgm",
            [
                "distillation.optimizer_at_round=reset",
                "distillation.next_teacher=average",
            ],
        ),
        (
            "mdlm",
            [
                "distillation.divergence=mse",
                "distillation.next_teacher=average",
            ],
        ),
    ] {
        let temporary = tempfile::tempdir().unwrap();
        let teacher = train_teacher(temporary.path(), objective);
        let whole = RunFolder::new(temporary.path().join("whole"));
        let finished = distill(&teacher, &whole, &settings, NEVER).unwrap();
        assert_eq!(losses(&whole).len(), 8);
        assert!(losses(&whole).iter().all(|(_, loss)| *loss > 0.0));
        // The teacher and the student of each round stay; 6 was a checkpoint, too.
        assert_eq!(steps(&whole), [0, 4, 8]);
        let mean = |steps: std::ops::Range<usize>| {
            let losses = &losses(&whole)[steps];
            losses.iter().map(|(_, loss)| loss).sum::<f64>() / losses.len() as f64
        };
        let expected = [(1, 16, 8, 4, mean(0..4)), (2, 8, 4, 8, mean(4..8))];
        for (found, expected) in rounds(&whole).into_iter().zip(expected) {
            assert_eq!(
                (found.0, found.1, found.2, found.3),
                (expected.0, expected.1, expected.2, expected.3)
            );
            assert!((found.4 - expected.4).abs() < 1e-12);
        }
        assert_eq!(rounds(&whole).len(), 2);
        // Of eight updates; a student that goes on from the average has one of its second round alone.
        let is_new_in_each_round = settings.contains(&"distillation.next_teacher=average");
        let expected = if is_new_in_each_round { 4 } else { 8 };
        let last = whole.checkpoint(CheckpointChoice::Last).unwrap();
        let text = std::fs::read_to_string(last.path.join("state.json")).unwrap();
        let updates = format!("\"ema_updates\": {expected},");
        assert!(text.contains(&updates), "{settings:?}: {text}");

        // In the second round, between two checkpoints, and exactly between the rounds.
        for stop in [5, 4] {
            let parts = RunFolder::new(temporary.path().join(format!("parts-{stop}")));
            let stopped = distill(&teacher, &parts, &settings, stop).unwrap();
            assert_eq!(stopped, Outcome::Interrupted { step: stop });
            let resumed = distill(&teacher, &parts, &settings, NEVER).unwrap();
            assert_eq!(losses(&whole), losses(&parts), "bit by bit");
            assert_eq!(rounds(&whole), rounds(&parts));
            assert_eq!(finished, resumed);
        }

        let other = distill(&teacher, &whole, &["distillation.teacher_steps=4"], NEVER);
        let error = other.unwrap_err().to_string();
        assert!(error.contains("`distillation` differs"), "{error}");
        // One round more goes on.
        let more = [&settings[..], &["distillation.n_rounds=3"]].concat();
        distill(&teacher, &whole, &more, NEVER).unwrap();
        assert_eq!(steps(&whole), [0, 4, 8, 12]);
    }
}

fn a_file_with_weights_teaches_what_its_run_does() {
    let temporary = tempfile::tempdir().unwrap();
    let path = |name: &str| temporary.path().join(name);
    let teacher = train_teacher(temporary.path(), "pgm");
    let run = teacher
        .load(
            CheckpointChoice::Last,
            WeightsChoice::Average,
            &Device::flex(),
        )
        .unwrap();
    let file = path("teacher.safetensors");
    let config = run.model.network_config();
    pgm_weights::save(
        &run.model.network,
        &config,
        WeightsFormat::Safetensors,
        &file,
    )
    .unwrap();

    let from_run = RunFolder::new(path("from-run"));
    distill(&teacher, &from_run, &[], NEVER).unwrap();
    let from_file = RunFolder::new(path("from-file"));
    let section = format!(
        "weights_file = '{}'\n[data]\ninputs = ['{}']\ntokenizer = '{}'\nseq_len = 16",
        file.display(),
        path("text.txt").display(),
        teacher.root().join("tokenizer.json").display()
    );
    // The file has no checkpoint that was averaged.
    distill_from(&section, &from_file, &[], 5).unwrap();
    distill_from(&section, &from_file, &[], NEVER).unwrap();
    assert_eq!(losses(&from_run), losses(&from_file), "bit by bit");
}

fn a_run_that_is_no_distillation_is_not_gone_on_with() {
    let temporary = tempfile::tempdir().unwrap();
    let teacher = train_teacher(temporary.path(), "ar");
    let error = distill(&teacher, &teacher, &[], NEVER)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("holds a run that is no distillation"),
        "{error}"
    );
    let student = RunFolder::new(temporary.path().join("student"));
    let error = distill(&teacher, &student, &[], NEVER)
        .unwrap_err()
        .to_string();
    assert!(error.contains("an autoregressive model"), "{error}");
}
