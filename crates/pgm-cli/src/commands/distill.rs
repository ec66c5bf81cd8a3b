use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use pgm_distill::{DISTILLATION_FILE, DIVERGENCE_PER_TOKEN, DistillConfig, Distiller, RoundRecord};
use pgm_hub::HubName;
use pgm_train::{MetricRecord, MetricsLog, Outcome, RunFolder, WeightsNote, parse_toml};
use pgm_weights::{WeightsChoice, WeightsFile};
use serde_json::json;

use super::config_args::{BUNDLED, resolve_inputs};
use super::run_start::{observer, provenance};
use crate::device::{self, Backend};
use crate::{format, interrupt, model_name, pretrained};

/// Distils the model of the quick start.
const QUICK_START: &str = include_str!("../../../../configs/distill/quickstart-distilled.toml");

/// Distil a trained model into a student that samples in fewer steps
///
/// Self-distillation through time (SDTT): in each round the student learns to do in one sampling step what its teacher
/// does in several, and becomes the next teacher. Without arguments the model of the quick start is distilled.
///
/// The student is a run like any other. Its checkpoint of step 0 is the teacher, and each round leaves one.
/// Ctrl-C stops after the current step and saves; the same command goes on from there. A run belongs to one process at
/// a time; a second one says which has it, and ends.
#[derive(Debug, Args)]
pub struct DistillArgs {
    /// The distillation as a TOML file; the quick start's if left out
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the teacher's run, `pretrained`, or a file with its weights (`hub:OWNER/NAME/FILE` is downloaded),
    /// instead of the configuration's; a file comes without text, which `[data]` has to name (for `pretrained` it is the
    /// bundled text if nothing else is said)
    #[arg(long, value_name = "PATH")]
    teacher: Option<PathBuf>,
    /// Change one value, for instance `--set distillation.directions=both`; may be repeated
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Folder of the student's run [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Delete the run that is in the folder and start anew
    #[arg(long)]
    restart: bool,
    /// Plain lines instead of the dashboard, on a terminal too
    #[arg(long)]
    plain: bool,
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

impl DistillArgs {
    pub fn run(self) -> Result<ExitCode> {
        let config = self.load()?;
        let device = device::open(self.backend)?;
        let root = self
            .output
            .unwrap_or_else(|| PathBuf::from("runs").join(&config.name));
        let folder = RunFolder::new(&root);
        let lock = folder.lock()?;
        if self.restart {
            lock.clear(&[DISTILLATION_FILE])?;
        }
        let schedule = config.schedule();
        let interrupter = interrupt::graceful("stopping, and saving the last finished step")?;
        let provenance = provenance(&device);
        let mut observer = observer(
            self.plain,
            &interrupter,
            schedule.n_steps(),
            DIVERGENCE_PER_TOKEN,
        );
        let started = Instant::now();
        let outcome = Distiller::new(config, folder.clone(), device, interrupter, &mut *observer)
            .with_provenance(provenance)
            .with_lock(lock)
            .run();
        // Gives the screen back before anything is said.
        drop(observer);
        match outcome? {
            Outcome::Interrupted { step } => {
                eprintln!(
                    "stopped and saved at step {} of {}; run the same command to go on",
                    format::count(step),
                    format::count(schedule.n_steps())
                );
                return Ok(ExitCode::from(130));
            }
            Outcome::Finished { samples, .. } => {
                for (i, sample) in samples.iter().enumerate() {
                    println!("--- sample {} ---\n{}\n", i + 1, sample.trim());
                }
            }
        }
        let records = MetricsLog::read(&folder.metrics())?;
        println!(
            "| round | teacher's steps | student's | checkpoint | mean loss | validation perplexity |"
        );
        println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
        for RoundRecord { step, round, loss } in RoundRecord::list(&records) {
            let perplexity = perplexity(&records, step);
            println!(
                "| {} | {} | {} | {step} | {loss:.4} | {} |",
                round.round,
                round.teacher_sampling_steps,
                round.student_sampling_steps,
                perplexity.map_or("-".into(), |perplexity| format!("{perplexity:.2}")),
            );
        }
        println!(
            "\nDistilled {} rounds of {} steps; this call took {}. Everything lies in {}.",
            schedule.rounds(),
            format::count(schedule.steps_per_round),
            format::duration(started.elapsed()),
            root.display()
        );
        Ok(ExitCode::SUCCESS)
    }

    fn load(&self) -> Result<DistillConfig> {
        let (text, source) = match &self.config {
            Some(path) => (pgm_data::read_text(path)?, path.display().to_string()),
            None => (QUICK_START.to_string(), "the quick start".to_string()),
        };
        let in_config = || format!("in the configuration of {source}");
        let mut settings = self.pretrained_settings(&text).with_context(in_config)?;
        settings.extend_from_slice(&self.set);
        let mut config: DistillConfig = parse_toml(&text, &settings).with_context(in_config)?;
        if let Some(teacher) = &self.teacher {
            let is_file = teacher.is_file()
                || pretrained::is_named_by(teacher)
                || teacher.to_string_lossy().starts_with(HubName::PREFIX);
            let (run, file) = if is_file {
                (None, Some(teacher.clone()))
            } else {
                (Some(teacher.clone()), None)
            };
            config.teacher.run = run;
            config.teacher.weights_file = file;
        }
        if let Some(file) = &config.teacher.weights_file {
            config.teacher.weights_file = Some(model_name::weights(file)?.path);
        }
        if let Some(data) = &mut config.data {
            resolve_inputs(&mut data.inputs)?;
        }
        config.validate().with_context(in_config)?;
        Ok(config)
    }

    /// What a distillation of the pretrained model is told where neither the configuration nor the command line does:
    /// its tokenizer, the length of its sequences, the bundled text, and a name.
    fn pretrained_settings(&self, text: &str) -> Result<Vec<String>> {
        let is_pretrained = self.teacher.as_deref().is_some_and(pretrained::is_named_by);
        if !is_pretrained {
            return Ok(Vec::new());
        }
        let weights = pretrained::locate()?.path;
        let file = WeightsFile::open(&weights, WeightsChoice::Average)?;
        let tokenizer = weights.with_file_name(pretrained::TOKENIZER);
        let given: serde_json::Value = parse_toml(text, &self.set)?;
        let mut settings = Vec::new();
        let mut usual = |key: &str, value: serde_json::Value| {
            if given["data"][key].is_null() {
                settings.push(format!("data.{key}={value}"));
            }
        };
        usual("inputs", json!([BUNDLED]));
        usual("tokenizer", json!(tokenizer.display().to_string()));
        if let Some(note) = WeightsNote::read(&file)? {
            usual("seq_len", json!(note.seq_len));
        }
        if self.config.is_none() {
            settings.push(format!("name=\"{}-distilled\"", pretrained::NAME));
        }
        Ok(settings)
    }
}

/// Of the first validation after so many steps: after the last step there is another one, on all sequences.
fn perplexity(records: &[MetricRecord], at: usize) -> Option<f64> {
    records.iter().find_map(|record| match record {
        MetricRecord::Validation {
            step, perplexity, ..
        } if *step == at => Some(*perplexity),
        _ => None,
    })
}
