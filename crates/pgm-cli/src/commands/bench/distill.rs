use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use discrete_diffusion::distillation::TeacherTimes;
use pgm_distill::{Directions, DistillationUpdate, Divergence, Normalisation};
use pgm_train::{ObjectiveKind, ObjectiveTraining, TrainingMethod};
use serde::Serialize;

use super::network_args::NetworkArgs;
use super::output_args::OutputArgs;
use super::random_batch::random_batch;
use super::timing::{Timing, wait};

/// Distillation updates beside training steps of the same network and batch
///
/// One direction and, for a PGM, both; two teacher steps; all in one process, in turn.
#[derive(Debug, Args)]
pub struct DistillBenchArgs {
    #[command(flatten)]
    network: NetworkArgs,
    /// Sequences a step [default: the configuration's]
    #[arg(long)]
    batch_size: Option<usize>,
    /// Rows that go through the networks at once [default: the configuration's]
    #[arg(long)]
    micro_batch_size: Option<usize>,
    /// Sampling steps of the teacher: the fewer, the more tokens it draws
    #[arg(long, default_value_t = 1024)]
    teacher_steps: usize,
    /// Steps of each kind that count, after one that does not
    #[arg(long, default_value_t = 10)]
    n: usize,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct DistillResult {
    name: String,
    objective: &'static str,
    what: &'static str,
    batch: usize,
    micro_batch: usize,
    length: usize,
    teacher_sampling_steps: usize,
    timing: Timing,
    /// Of the median time of a training step.
    training_steps: f64,
}

impl DistillBenchArgs {
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.n > 0, "--n must be 1 or more");
        ensure!(self.teacher_steps > 0, "--teacher-steps must be 1 or more");
        let mut config = self.network.config()?;
        if let Some(batch_size) = self.batch_size {
            config.training.batch_size = batch_size;
        }
        if self.micro_batch_size.is_some() {
            config.training.micro_batch_size = self.micro_batch_size;
        }
        config.validate()?;
        let kind = config.objective.kind;
        ensure!(
            kind != ObjectiveKind::Ar,
            "an autoregressive model cannot be distilled; take a PGM or an MDLM"
        );
        let device = self.output.open_device()?;
        let mask_token = self.network.mask_token();
        let mut state = self.network.state(&config, &device)?;
        let teacher = state.evaluation_network();
        let batch = random_batch(&config, mask_token);
        let update = |directions| DistillationUpdate {
            teacher: &teacher,
            mask_token,
            teacher_steps: 2,
            step_size: 1.0 / self.teacher_steps as f64,
            times: TeacherTimes::Even,
            divergence: Divergence::KlBackward,
            normalisation: Normalisation::Tokens,
            directions,
        };
        let mut kinds = vec![
            ("training step", None),
            ("update, hidden", Some(Directions::Hidden)),
        ];
        if kind == ObjectiveKind::Pgm {
            kinds.push(("update, both", Some(Directions::Both)));
        }
        let mut seconds = vec![Vec::new(); kinds.len()];
        let mut go_on = || ControlFlow::Continue(());
        for round in 0..=self.n {
            for ((what, directions), seconds) in kinds.iter().zip(&mut seconds) {
                let started = Instant::now();
                match directions {
                    None => ObjectiveTraining
                        .advance(&mut state, &config, &batch, &device, &mut go_on)?,
                    Some(directions) => {
                        let rate = config.learning_rate_at(state.step);
                        update(*directions)
                            .apply(&mut state, &config, rate, &batch, &device, &mut go_on)?
                    }
                };
                wait(&device)?;
                let elapsed = started.elapsed().as_secs_f64();
                eprintln!("{round}, {what}: {elapsed:.3} s");
                if round > 0 {
                    seconds.push(elapsed);
                }
            }
        }
        let timings: Vec<Timing> = seconds
            .into_iter()
            .map(|s| Timing::from_seconds(s, 1))
            .collect();
        let results = kinds.iter().zip(&timings).map(|((what, _), timing)| {
            let training_steps = timing.median_seconds / timings[0].median_seconds;
            println!(
                "{what}: {:.1} ms, {training_steps:.2} of a training step",
                timing.median_seconds * 1e3
            );
            DistillResult {
                name: config.name.clone(),
                objective: kind.name(),
                what,
                batch: config.training.batch_size,
                micro_batch: config.training.micro_batch_size(),
                length: config.data.seq_len,
                teacher_sampling_steps: self.teacher_steps,
                timing: *timing,
                training_steps,
            }
        });
        let results: Vec<DistillResult> = results.collect();
        self.output.write("distill", &device, &results)?;
        Ok(ExitCode::SUCCESS)
    }
}
