use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use clap::Args;
use pgm_eval::{
    GenerativePerplexity, GenerativeReport, Generator, Judge, ModelSamples, ResultsFile,
    SampleSource, SamplerKind, SweepCurve, TextSamples, draw_sweep,
};
use pgm_train::{Checkpoint, CheckpointChoice, LoadedRun};
use serde_json::{Value, json};

use super::run_args::RunArgs;
use super::sample_drawing::DrawingArgs;
use crate::device::{self, Backend};
use crate::hub::{self, LocatedModel};
use crate::progress::Stage;

const AFTER_HELP: &str = "\
Examples:
  pgm eval-genppl --judge hub:openai-community/gpt2-large --run runs/owt --n 1024 --steps 128
  pgm eval-genppl --judge smollm2.gguf --sweep steps=8,16,32,64,128 --plot sweep.svg
  pgm eval-genppl --judge smollm2.gguf --run runs/student --every-checkpoint --sweep steps=4,8,16,32,64 --plot rounds.svg
  pgm eval-genppl --judge models/gpt2 --samples texts.jsonl

A judge is a folder with `config.json`, `model.safetensors` and `tokenizer.json` of GPT-2 or a Llama, or a `.gguf`
file of a Llama. HF_HOME says where downloads go, HF_TOKEN opens private and gated repositories. Samples and results are written down batch by batch; the same command goes on where it was stopped,
and with a larger --n it judges only the new ones.";

/// How likely a judge finds text that a model draws, and how varied that text is
///
/// Generative perplexity as in the papers of MDLM and PGM: text is drawn to the end of the sequence, tokenised anew
/// for the judge and cut to --max-length; all tokens behind BOS count, and EOS once. Repetitive text has a low one, so
/// that entropy and repetition stand beside it. Standard errors are over samples, by the bootstrap.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct EvalGenpplArgs {
    /// Folder or `.gguf` file of the judge, or `hub:OWNER/NAME[/FILE.gguf][@REVISION]`, downloaded from the Hugging Face
    /// hub once
    #[arg(long, value_name = "JUDGE")]
    judge: PathBuf,
    #[command(flatten)]
    model: RunArgs,
    /// Judge the texts of a file instead: an object with `text` in each line (`.jsonl`), or a text in each line
    #[arg(long, value_name = "FILE", conflicts_with = "sweep")]
    samples: Option<PathBuf>,
    /// Samples to draw and judge; published figures are of 1024 [default: 64, or all of --samples]
    #[arg(long)]
    n: Option<usize>,
    #[command(flatten)]
    drawing: DrawingArgs,
    /// One evaluation for each number of sampling steps
    #[arg(long, value_name = "steps=N,N,...", conflicts_with = "steps")]
    sweep: Option<Sweep>,
    /// Evaluate every checkpoint of the run; after a distillation, the teacher and the student of each round
    #[arg(long, conflicts_with_all = ["samples", "checkpoint", "weights"])]
    every_checkpoint: bool,
    /// Draw perplexity and entropy over the steps of --sweep as an SVG picture
    #[arg(long, value_name = "FILE", requires = "sweep")]
    plot: Option<PathBuf>,
    /// Judge's tokens read of each text [default: tokens of a sample; for --samples 1024 or what the judge reads]
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,
    /// Seed of all draws, and of the bootstrap
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sequences drawn and judged at once
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// Write the results as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder for samples and what the judge says of each [default: `generative` in the run's folder, in `runs/hub`, or beside --samples]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

/// Numbers of steps to evaluate.
#[derive(Debug, Clone)]
struct Sweep(Vec<usize>);

impl std::str::FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.strip_prefix("steps=").map(|numbers| {
            let numbers = numbers.split(',').map(|n| n.trim().parse::<usize>());
            numbers.collect::<Result<Vec<_>, _>>()
        });
        match numbers {
            Some(Ok(numbers)) => Ok(Self(numbers)),
            _ => Err(format!(
                "`{text}` is no sweep; wanted `steps=` and numbers, as in `steps=8,16,32`"
            )),
        }
    }
}

/// Default for `--samples`, as in the published figures.
const MAX_LENGTH: usize = 1024;

impl EvalGenpplArgs {
    pub fn run(mut self) -> Result<ExitCode> {
        if self.samples.is_none() {
            self.model.locate()?;
        }
        let LocatedModel { path, origin } = hub::judge(&self.judge)?;
        let device = device::open(self.backend)?;
        let judge = Judge::open(&path, &device)?;
        let judge = match origin {
            Some(origin) => judge.with_name(origin.name),
            None => judge,
        };
        let evaluations = match &self.samples {
            Some(path) => vec![self.judge_file(&judge, path)?],
            None => self.judge_model(&judge, &device)?,
        };
        println!("{}", GenerativeReport::markdown_head("samples of"));
        for evaluation in &evaluations {
            println!("{}", evaluation.report.markdown_row(&evaluation.name));
        }
        println!(
            "\nJudge {}, at most {} of its tokens a sample, seed {}; ± is the standard error over samples.",
            judge.name(),
            evaluations
                .last()
                .map_or(0, |evaluation| evaluation.max_length),
            self.seed,
        );
        if let (Some(path), Some(Sweep(steps))) = (&self.plot, &self.sweep) {
            let curves = evaluations.chunks(steps.len()).map(|curve| SweepCurve {
                name: curve[0].model.clone(),
                points: steps
                    .iter()
                    .copied()
                    .zip(curve.iter().map(|evaluation| &evaluation.report))
                    .collect(),
            });
            draw_sweep(&curves.collect::<Vec<_>>(), path)?;
        }
        if let Some(path) = &self.json {
            let evaluations: Vec<Value> = evaluations.iter().map(Evaluation::json).collect();
            let text = serde_json::to_string_pretty(&json!({ "evaluations": evaluations }))?;
            pgm_data::write_file(path, text.as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn judge_file(&self, judge: &Judge, path: &Path) -> Result<Evaluation> {
        let mut source = TextSamples::read(path)?;
        let available = source.len();
        let n_samples = self.n.unwrap_or(available);
        if n_samples > available {
            bail!(
                "--n is {n_samples}, `{}` holds {available} samples",
                path.display()
            );
        }
        let settings = json!({
            "samples": path.display().to_string(),
            "sha256": source.fingerprint(),
        });
        let longest = MAX_LENGTH.min(judge.context_length());
        let folder = path.parent().unwrap_or(Path::new("")).join("generative");
        self.evaluate(
            judge,
            &mut source,
            n_samples,
            longest,
            folder,
            settings,
            "file",
        )
    }

    fn judge_model(&self, judge: &Judge, device: &Device) -> Result<Vec<Evaluation>> {
        let choices = match self.every_checkpoint {
            true => Checkpoint::list(&self.model.folder().checkpoints())?
                .into_iter()
                .map(|checkpoint| CheckpointChoice::Step(checkpoint.step))
                .collect(),
            false => vec![self.model.checkpoint],
        };
        let mut evaluations = Vec::new();
        for checkpoint in choices {
            let mut model = self.model.clone();
            model.checkpoint = checkpoint;
            evaluations.extend(self.judge_run(judge, &model.load(device)?, device)?);
        }
        Ok(evaluations)
    }

    /// One evaluation for each number of sampling steps.
    fn judge_run(
        &self,
        judge: &Judge,
        run: &LoadedRun,
        device: &Device,
    ) -> Result<Vec<Evaluation>> {
        let mut settings = self.drawing.settings(&run.config.sampling);
        let all_steps = match &self.sweep {
            Some(Sweep(numbers)) => numbers.clone(),
            None => vec![settings.n_steps],
        };
        let evaluations = all_steps.into_iter().map(|n_steps| {
            settings.n_steps = n_steps;
            settings.check()?;
            let generator = Generator {
                settings: settings.clone(),
                batch_size: self.batch_size,
                seed: self.seed,
                mask_token: run.mask_token as u32,
                eos_token: None,
            };
            self.judge_draws(judge, run, &generator, device)
        });
        evaluations.collect()
    }

    fn judge_draws(
        &self,
        judge: &Judge,
        run: &LoadedRun,
        generator: &Generator,
        device: &Device,
    ) -> Result<Evaluation> {
        let seq_len = run.config.data.seq_len;
        let sampler = generator.settings.sampler;
        let sampler = sampler.unwrap_or(SamplerKind::for_model(&run.network)[0]);
        let settings = json!({
            "run": self.model.source(),
            "checkpoint_step": run.step,
            "raw_weights": self.model.raw_weights,
            "config": run.config,
            "sampler": sampler.name(),
            "sampling": generator.settings,
            "seq_len": seq_len,
        });
        let mut source = ModelSamples {
            generator,
            model: &run.network,
            tokenizer: &run.tokenizer,
            seq_len,
            device,
        };
        let folder = self.model.output_folder().join("generative");
        let n_samples = self.n.unwrap_or(64);
        let name = format!("{}, {} steps", sampler.name(), generator.settings.n_steps);
        let model = format!("checkpoint {}", run.step);
        let name = match self.every_checkpoint {
            true => format!("{model}, {name}"),
            false => name,
        };
        let evaluation = self.evaluate(
            judge,
            &mut source,
            n_samples,
            seq_len,
            folder,
            settings,
            &name,
        )?;
        Ok(Evaluation {
            model,
            ..evaluation
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what the two kinds of samples differ in"
    )]
    fn evaluate(
        &self,
        judge: &Judge,
        source: &mut dyn SampleSource,
        n_samples: usize,
        max_length: usize,
        folder: PathBuf,
        source_settings: Value,
        name: &str,
    ) -> Result<Evaluation> {
        let evaluation = GenerativePerplexity {
            n_samples,
            batch_size: self.batch_size,
            max_length: self.max_length.unwrap_or(max_length),
            with_features: false,
        };
        let settings = json!({
            "judge": judge.name(),
            "judge_weight_bytes": judge.n_weight_bytes(),
            "judge_tokenizer": judge.tokenizer().fingerprint(),
            "max_length": evaluation.max_length,
            "seed": self.seed,
            "source": source_settings,
        });
        let folder = self.results.clone().unwrap_or(folder);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let path = folder.join(ResultsFile::name_for(&settings));
        let mut results = ResultsFile::open(&path, &settings)?;
        let n_found = results.samples().len();
        if n_found > 0 {
            tracing::info!(n_found, path = %path.display(), "going on with samples judged before");
        }
        let mut stage = Stage::new("judge", n_samples);
        evaluation.judge(judge, source, &mut results, &mut |done, total| {
            stage.update(done, total, "samples");
            true
        })?;
        drop(stage);
        let samples = &results.samples()[..n_samples];
        Ok(Evaluation {
            model: String::new(),
            name: name.to_owned(),
            max_length: evaluation.max_length,
            report: GenerativeReport::of(samples, self.seed)?,
            settings,
            results: path,
        })
    }
}

/// One evaluation and how it was made.
struct Evaluation {
    /// Which checkpoint was evaluated; empty for a file.
    model: String,
    name: String,
    max_length: usize,
    report: GenerativeReport,
    settings: Value,
    results: PathBuf,
}

impl Evaluation {
    fn json(&self) -> Value {
        json!({
            "settings": self.settings,
            "report": self.report,
            "results": self.results.display().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_are_numbers_of_steps() {
        let sweep: Sweep = "steps=8,16, 32".parse().unwrap();
        assert_eq!(sweep.0, [8, 16, 32]);
        let error = "8,16".parse::<Sweep>().unwrap_err();
        assert!(
            error.starts_with("`8,16` is no sweep; wanted `steps=`"),
            "{error}"
        );
        assert!("steps=".parse::<Sweep>().is_err());
    }
}
