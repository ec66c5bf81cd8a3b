mod evaluation;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use pgm_data::SpecialTokenChoice;
use pgm_eval::{
    FeatureText, GenerativeComparison, GenerativeEvaluation, HeldOutSamples, Judge, MauveConfig,
    ModelSamples, Sweep, SweptSettings, TextSamples,
};
use pgm_generation::{Generator, SamplerKind, SamplingSettings};
use pgm_train::{Checkpoint, CheckpointChoice, Provenance};
use serde_json::{Value, json};

use self::evaluation::{Judging, Stopped};
use super::run_args::{OpenedModel, RunArgs};
use super::run_start::provenance;
use super::sample_drawing::DrawingArgs;
use crate::device::{self, Backend};
use crate::interrupt;
use crate::model_name::{self, LocatedModel};

const AFTER_HELP: &str = "\
Examples:
  pgm eval-genppl --judge hub:openai-community/gpt2-large --run runs/owt --n 1024 --steps 128 --mauve --markdown report.md
  pgm eval-genppl --judge smollm2.gguf --sweep steps=8,16,32,64,128 --plots sweep     (of the pretrained model)
  pgm eval-genppl --judge smollm2.gguf --sweep temperature=0.7,0.8,0.9,1,top-p=0.9,1 --plots frontier
  pgm eval-genppl --judge smollm2.gguf --run runs/student --every-checkpoint --sweep steps=4,8,16,32,64 --plots rounds
  pgm eval-genppl --judge models/gpt2 --samples texts.jsonl

A judge is a folder with `config.json`, `model.safetensors` and `tokenizer.json` of GPT-2 or a Llama, or a `.gguf`
file of a Llama. HF_HOME says where downloads go, HF_TOKEN opens private and gated repositories.
Samples and results are written down batch by batch; the same command goes on where it was stopped,
and with a larger --n it judges only the new ones.";

/// How likely a judge finds text that a model draws, and how varied that text is
///
/// Generative perplexity as in the papers of MDLM and PGM: text is drawn to the end of the sequence, tokenised anew
/// for the judge and cut to --max-length; all tokens behind BOS count, and EOS once. Repetitive text has a low one, so
/// that entropy and repetition stand beside it, always. Standard errors are over samples, by the bootstrap.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct EvalGenpplArgs {
    /// Folder or `.gguf` file of the judge, or `hub:OWNER/NAME[/FILE.gguf][@REVISION]`, downloaded from the Hugging Face
    /// hub once
    #[arg(long, value_name = "JUDGE")]
    judge: PathBuf,
    /// Special tokens of the judge which its files do not tell, or tell wrongly, as its vocabulary spells them, or their
    /// ids; `pgm info` shows which are taken
    #[arg(long, value_name = "bos=TOKEN,eos=TOKEN")]
    judge_special_tokens: Option<SpecialTokenChoice>,
    #[command(flatten)]
    model: RunArgs,
    /// Judge the texts of a file instead: JSON lines or a list, of objects with `text` or of texts; the JSON that PGM,
    /// Duo, MDLM and ReMDM write; or a text in each line (`.txt`)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sweep", "RunArgs", "DrawingArgs"])]
    samples: Option<PathBuf>,
    /// Samples to draw and judge; published figures are of 1024 [default: 64, or all of --samples]
    #[arg(long)]
    n: Option<usize>,
    #[command(flatten)]
    drawing: DrawingArgs,
    /// One evaluation for each value of steps, temperature, top-p or top-k, or for each combination of values; curves
    /// run along the first one
    #[arg(long, value_name = "NAME=X,X,...[,NAME=X,...]")]
    sweep: Option<Sweep>,
    /// Evaluate every checkpoint of the run; after a distillation, the teacher and the student of each round
    #[arg(long, requires = "run", conflicts_with_all = ["samples", "checkpoint", "weights"])]
    every_checkpoint: bool,
    /// Compare with the held-out text of the run, too: MAUVE, from the judge's hidden states, and a row of the table
    #[arg(long)]
    mauve: bool,
    /// The texts that MAUVE compares with, in the forms of --samples, instead of the run's held-out text
    #[arg(long, value_name = "FILE", requires = "mauve")]
    references: Option<PathBuf>,
    /// Of which text MAUVE takes the judge's state at the last token
    #[arg(long, value_enum, default_value_t, requires = "mauve")]
    mauve_text: MauveText,
    /// Draw SVG pictures into a folder: perplexity and entropy over steps, perplexity over entropy, and over seconds
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
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
    /// Write a page with the table, all settings and the pictures of --plots, too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Folder for samples and what the judge says of each [default: `generative` in the run's folder, in `runs/hub`, or beside --samples]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

/// The text whose last token gives the features that MAUVE compares.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum MauveText {
    /// The words alone, as MAUVE's own code decodes them
    #[default]
    WithoutSpecialTokens,
    /// BOS and EOS spelled out, as in ReMDM's code: packed rows are compared at their EOS, which hardly tells texts apart
    WithSpecialTokens,
}

impl From<MauveText> for FeatureText {
    fn from(text: MauveText) -> Self {
        match text {
            MauveText::WithoutSpecialTokens => Self::WithoutSpecialTokens,
            MauveText::WithSpecialTokens => Self::WithSpecialTokens,
        }
    }
}

/// Default for `--samples`, as in the published figures.
const MAX_LENGTH: usize = 1024;

/// Clusterings behind a MAUVE.
const MAUVE_SEEDS: usize = 5;

impl EvalGenpplArgs {
    pub fn run(mut self) -> Result<ExitCode> {
        let outcome = self.evaluate();
        let stopped = outcome
            .as_ref()
            .err()
            .and_then(|error| error.downcast_ref());
        match stopped {
            Some(&Stopped { n_done, n_wanted }) => {
                Ok(interrupt::stopped(n_done, n_wanted, "samples"))
            }
            None => outcome,
        }
    }

    fn evaluate(&mut self) -> Result<ExitCode> {
        if self.mauve && self.references.is_none() {
            let name = match (&self.samples, &self.model.weights) {
                (Some(_), _) => Some("--samples"),
                (None, Some(_)) => Some("--weights"),
                (None, None) => (!self.model.is_run()).then_some("the pretrained model"),
            };
            if let Some(name) = name {
                bail!(
                    "{name} comes without held-out text to compare with; name some with --references"
                );
            }
        }
        if self.samples.is_none() {
            self.model.locate()?;
        }
        self.check_plots()?;
        let located = model_name::judge(&self.judge)?;
        let device = device::open(self.backend)?;
        let judge = self.open_judge(located, &device)?;
        let interrupter = interrupt::graceful("stopping; batches that were judged are kept")?;
        let mut judging = Judging {
            judge: &judge,
            batch_size: self.batch_size,
            max_length: self.max_length.unwrap_or(0),
            seed: self.seed,
            features: self.mauve.then(|| self.mauve_text.into()),
            interrupter: &interrupter,
        };
        let (evaluations, references) = match &self.samples {
            Some(path) => {
                judging.max_length = self
                    .max_length
                    .unwrap_or(MAX_LENGTH.min(judge.context_length()));
                let evaluation = self.judge_file(&judging, path)?;
                let n = evaluation.report.n_samples;
                (vec![evaluation], self.judge_references(&judging, None, n)?)
            }
            None => self.judge_model(&mut judging, &device)?,
        };
        let provenance = provenance(&device);
        let mut comparison = GenerativeComparison {
            judge: judge.name().to_owned(),
            evaluations,
            references,
            features: judging.features,
            max_length: judging.max_length,
            seed: self.seed,
            program: program_in_words(&provenance),
        };
        comparison.compare_with_references(&MauveConfig {
            n_clusters: None,
            n_seeds: MAUVE_SEEDS,
            seed: self.seed,
        })?;
        self.write(&comparison, &provenance)?;
        Ok(ExitCode::SUCCESS)
    }

    fn open_judge(&self, located: LocatedModel, device: &Device) -> Result<Judge> {
        let LocatedModel { path, origin } = located;
        let special_tokens = self.judge_special_tokens.clone().unwrap_or_default();
        let judge = Judge::open_choosing(&path, &special_tokens, device)?;
        if !judge.unknown_keys().is_empty() {
            tracing::warn!(
                "the judge's description has keys that are not known and change nothing here: {}",
                judge.unknown_keys().join(", ")
            );
        }
        Ok(match origin {
            Some(origin) => judge.with_name(origin.name),
            None => judge,
        })
    }

    /// Prints the table, and writes the files that are asked for.
    fn write(&self, comparison: &GenerativeComparison, provenance: &Provenance) -> Result<()> {
        print!("{}", comparison.text());
        let pictures = match &self.plots {
            Some(folder) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
                comparison.draw(folder)?
            }
            None => Vec::new(),
        };
        if let Some(path) = &self.markdown {
            pgm_data::write_file(path, comparison.markdown(path, &pictures).as_bytes())?;
        }
        if let Some(path) = &self.json {
            let mut object = comparison.json();
            object["provenance"] = json!(provenance);
            let text = serde_json::to_string_pretty(&object)?;
            pgm_data::write_file(path, text.as_bytes())?;
        }
        Ok(())
    }

    fn judge_file(&self, judging: &Judging, path: &Path) -> Result<GenerativeEvaluation> {
        let mut source = TextSamples::read(path)?;
        let available = source.len();
        let n_samples = self.n.unwrap_or(available);
        if n_samples > available {
            bail!(
                "--n is {n_samples}, `{}` holds {available} samples",
                path.display()
            );
        }
        let settings = file_settings(path, &source);
        let name = format!("`{}`", path.display());
        judging.evaluate(name, &mut source, settings, n_samples, &self.folder())
    }

    /// Refuses to plot a single evaluation before anything is computed.
    fn check_plots(&self) -> Result<()> {
        if self.plots.is_none() {
            return Ok(());
        }
        let n_evaluations = match &self.samples {
            Some(_) => 1,
            None => {
                let n_settings = self.swept_settings(SamplingSettings::default()).len();
                self.checkpoints()?.len() * n_settings
            }
        };
        if n_evaluations < 2 {
            bail!("one evaluation makes no picture; --plots wants --sweep or --every-checkpoint");
        }
        Ok(())
    }

    /// The checkpoints to evaluate.
    fn checkpoints(&self) -> Result<Vec<CheckpointChoice>> {
        if !self.every_checkpoint {
            return Ok(vec![self.model.checkpoint]);
        }
        let checkpoints = Checkpoint::list(&self.model.folder().checkpoints())?.into_iter();
        Ok(checkpoints
            .map(|checkpoint| CheckpointChoice::Step(checkpoint.step))
            .collect())
    }

    /// The settings to evaluate each checkpoint with.
    fn swept_settings(&self, base: SamplingSettings) -> Vec<SweptSettings> {
        match &self.sweep {
            Some(sweep) => sweep.settings(&base),
            None => vec![SweptSettings {
                settings: base,
                curve: Vec::new(),
                name: Vec::new(),
            }],
        }
    }

    /// What each checkpoint draws with each of the settings, and the text to compare with.
    fn judge_model(
        &self,
        judging: &mut Judging,
        device: &Device,
    ) -> Result<(Vec<GenerativeEvaluation>, Option<GenerativeEvaluation>)> {
        let mut evaluations = Vec::new();
        let mut references = None;
        for checkpoint in self.checkpoints()? {
            let mut model = self.model.clone();
            model.checkpoint = checkpoint;
            let run = model.load(device)?;
            judging.max_length = self.max_length.unwrap_or(run.config.data.seq_len);
            if references.is_none() {
                references = self.judge_references(judging, Some(&run), self.n_draws())?;
            }
            let model_settings = model.settings(&run)?;
            let base = self.drawing.settings(&run.config.sampling);
            for swept in self.swept_settings(base) {
                evaluations.push(self.judge_draws(
                    judging,
                    &run,
                    &model_settings,
                    swept,
                    device,
                )?);
            }
        }
        Ok((evaluations, references))
    }

    fn judge_draws(
        &self,
        judging: &Judging,
        run: &OpenedModel,
        model_settings: &Value,
        swept: SweptSettings,
        device: &Device,
    ) -> Result<GenerativeEvaluation> {
        swept.settings.check()?;
        let generator = Generator {
            settings: swept.settings,
            batch_size: self.batch_size,
            seed: self.seed,
            mask_token: run.model.mask_token as u32,
            eos_token: None,
        };
        let seq_len = run.config.data.seq_len;
        let sampler = generator.settings.sampler;
        let sampler = sampler.unwrap_or(SamplerKind::for_model(&run.model.network)[0]);
        let mut settings = model_settings.clone();
        settings["sampler"] = json!(sampler.name());
        settings["sampling"] = json!(generator.settings);
        let definitions = generator.settings.definitions();
        if !definitions.is_empty() {
            settings["definitions"] = json!(definitions);
        }
        settings["seq_len"] = json!(seq_len);
        let mut source = ModelSamples {
            generator: &generator,
            model: &run.model.network,
            tokenizer: &run.model.tokenizer,
            seq_len,
            device,
        };
        let checkpoint = format!("checkpoint {}", run.model.step);
        let n_steps = generator.settings.n_steps;
        let mut name = vec![sampler.name().to_owned()];
        if !self.sweep.as_ref().is_some_and(Sweep::has_steps) {
            name.push(format!("steps {n_steps}"));
        }
        name.extend(swept.name);
        let mut curve = swept.curve;
        if self.every_checkpoint {
            name.insert(0, checkpoint.clone());
            curve.insert(0, checkpoint);
        }
        let n_draws = self.n_draws();
        let name = name.join(", ");
        let folder = self.folder();
        let evaluation = judging.evaluate(name, &mut source, settings, n_draws, &folder)?;
        Ok(GenerativeEvaluation {
            curve: curve.join(", "),
            n_steps,
            drawing: Some(drawing(run, sampler, &generator.settings)),
            ..evaluation
        })
    }

    /// As many texts as are to be compared with them, or as there are.
    fn judge_references(
        &self,
        judging: &Judging,
        run: Option<&OpenedModel>,
        n_wanted: usize,
    ) -> Result<Option<GenerativeEvaluation>> {
        if !self.mauve {
            return Ok(None);
        }
        let folder = self.folder();
        let enough = |available: usize| {
            if available < n_wanted {
                tracing::warn!(
                    available,
                    n_wanted,
                    "there are fewer texts to compare with; MAUVE falls with their number"
                );
            }
            available.min(n_wanted)
        };
        let evaluation = match (&self.references, run) {
            (Some(path), _) => {
                let mut source = TextSamples::read(path)?;
                let settings = file_settings(path, &source);
                let n = enough(source.len());
                let name = format!("references `{}`", path.display());
                judging.evaluate(name, &mut source, settings, n, &folder)?
            }
            (None, Some(run)) => {
                let rows = self.model.folder().validation_set(&run.config)?;
                let mut source = HeldOutSamples::new(&rows, &run.model.tokenizer, self.seed)?;
                let settings = json!({
                    "held_out_text_of": self.model.source(),
                    "data": run.config.data,
                });
                let n = enough(source.len());
                let name = "held-out text".to_owned();
                judging.evaluate(name, &mut source, settings, n, &folder)?
            }
            (None, None) => unreachable!("samples of a file have references"),
        };
        Ok(Some(evaluation))
    }

    /// Samples that a model draws.
    fn n_draws(&self) -> usize {
        self.n.unwrap_or(64)
    }

    /// Where samples and scores go.
    fn folder(&self) -> PathBuf {
        let beside = match &self.samples {
            Some(path) => path.parent().unwrap_or(Path::new("")).to_path_buf(),
            None => self.model.output_folder(),
        };
        let folder = self.results.clone();
        folder.unwrap_or_else(|| beside.join("generative"))
    }
}

fn file_settings(path: &Path, source: &TextSamples) -> Value {
    json!({
        "samples": path.display().to_string(),
        "texts_sha256": source.fingerprint(),
    })
}

/// Which program computes, and on what, in words.
fn program_in_words(provenance: &Provenance) -> String {
    let Provenance {
        version,
        commit,
        device,
        ..
    } = provenance;
    format!("pgm {version} ({commit}) on {device}.")
}

/// What drew a text, in words.
fn drawing(run: &OpenedModel, sampler: SamplerKind, settings: &SamplingSettings) -> String {
    let objective = run.config.objective.kind.name();
    let precision = run.config.model.precision.name();
    let mut words = format!(
        "{objective} `{}` at step {}, network in {precision}, sampler {}, temperature {}",
        run.config.name,
        run.model.step,
        sampler.name(),
        settings.temperature
    );
    if let Some(top_k) = settings.top_k {
        words += &format!(", top-k {top_k}");
    }
    if let Some(top_p) = settings.top_p {
        words += &format!(", top-p {top_p}");
    }
    format!("{words}; tokens drawn {}", sampler.draw())
}
