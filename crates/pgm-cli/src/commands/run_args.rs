use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use clap::Args;
use pgm_data::{SpecialTokenChoice, Tokenizer};
use pgm_train::{
    CheckpointChoice, ExperimentConfig, LoadedModel, LoadedRun, RunFolder, WeightsChoice,
};
use pgm_weights::{WeightsFile, WeightsSource};
use serde_json::{Value, json};

use crate::model_name::{LocatedModel, Origin};
use crate::{format, model_name, pretrained};

/// Which trained model to use.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Folder of a run, such as runs/quickstart-pgm [default: none, and --weights pretrained]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Which of its checkpoints: `last`, `best` (lowest validation loss) or a step
    #[arg(long, value_name = "WHICH", default_value = "last", requires = "run")]
    pub checkpoint: CheckpointChoice,
    /// Use the weights as after the last step instead of the averaged ones
    #[arg(long)]
    pub raw_weights: bool,
    /// Weights instead of a run: `pretrained`, the model that comes with the project; a checkpoint of the authors
    /// (.ckpt), safetensors or burnpack, a folder with one such file, or `hub:OWNER/NAME/FILE[@REVISION]`, downloaded
    /// from the Hugging Face hub once
    #[arg(long, value_name = "PATH", conflicts_with_all = ["run", "checkpoint"])]
    pub weights: Option<PathBuf>,
    /// Tokenizer of --weights [default: `tokenizer.json` beside them, or GPT-2's if the vocabulary is its]
    #[arg(long, value_name = "FILE", requires = "weights")]
    pub tokenizer: Option<PathBuf>,
    /// Special tokens of that tokenizer which its files do not tell, or tell wrongly: bos, eos, mask or pad, as its
    /// vocabulary spells them, or their ids (a run has its own, from `data.special_tokens`)
    #[arg(long, value_name = "bos=TOKEN,eos=TOKEN", requires = "weights")]
    pub special_tokens: Option<SpecialTokenChoice>,
    /// Attention heads of --weights, if not 64 features each (files of this program say it)
    #[arg(long, value_name = "N", requires = "weights")]
    pub n_heads: Option<usize>,
    /// Tokens of the sequences that --weights were trained on [default: what the file says, 1024 if it does not]
    #[arg(long, value_name = "TOKENS", requires = "weights")]
    pub seq_len: Option<usize>,
    /// Where --weights are from that have a name of their own, once they are here.
    #[arg(skip)]
    pub origin: Option<Origin>,
}

/// A model that was opened, and a configuration that says how it is used.
#[derive(Debug)]
pub struct OpenedModel {
    /// The model.
    pub model: LoadedModel,
    /// That of its run; for weights without a run, what they say, and defaults.
    pub config: ExperimentConfig,
}

const TOKENIZER: &str = "tokenizer.json";

/// Endings of files with weights.
const ENDINGS: [&str; 4] = ["ckpt", "pt", "safetensors", "bpk"];

impl RunArgs {
    /// A checkpoint of a run.
    pub fn of_run(run: PathBuf, checkpoint: CheckpointChoice, raw_weights: bool) -> Self {
        Self {
            run: Some(run),
            checkpoint,
            raw_weights,
            weights: None,
            tokenizer: None,
            special_tokens: None,
            n_heads: None,
            seq_len: None,
            origin: None,
        }
    }

    /// Weights without a run.
    pub fn of_weights(weights: PathBuf, raw_weights: bool) -> Self {
        Self {
            run: None,
            weights: Some(weights),
            ..Self::of_run(PathBuf::new(), CheckpointChoice::Last, raw_weights)
        }
    }

    /// The folder of the run.
    ///
    /// # Panics
    /// Panics where weights are used instead of a run.
    pub fn folder(&self) -> RunFolder {
        RunFolder::new(self.run.as_ref().expect("a run is named"))
    }

    /// Whether a run is used, which has held-out text.
    pub fn is_run(&self) -> bool {
        self.run.is_some()
    }

    /// Finds weights by their name, and downloads those of the hub; where nothing is named, the pretrained model's.
    /// Comes before all else.
    pub fn locate(&mut self) -> Result<()> {
        if self.is_run() {
            return Ok(());
        }
        let name = match &self.weights {
            Some(name) => name.clone(),
            None => PathBuf::from(pretrained::NAME),
        };
        let LocatedModel { path, origin } = model_name::weights(&name)?;
        if self.weights.is_none() {
            eprintln!(
                "using the pretrained model that comes with the project; --run DIR uses one of yours, as in --run runs/quickstart-pgm"
            );
        }
        self.weights = Some(path);
        self.origin = origin;
        Ok(())
    }

    /// What is used: the run, the weights, or the name of their own (of the hub with the commit).
    pub fn source(&self) -> String {
        match (&self.origin, &self.weights) {
            (Some(origin), _) => origin.name.clone(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => self.folder().root().display().to_string(),
        }
    }

    /// Where results go: the folder of the run, or that of the weights; for weights of the hub one in `runs/hub`, for
    /// the pretrained ones `runs/pretrained`.
    pub fn output_folder(&self) -> PathBuf {
        match (&self.origin, &self.weights) {
            (Some(origin), _) => origin.results.clone(),
            (None, Some(path)) if path.is_dir() => path.clone(),
            (None, Some(path)) => path.parent().unwrap_or(Path::new("")).to_path_buf(),
            (None, None) => self.folder().root().to_path_buf(),
        }
    }

    /// Opens the model.
    pub fn load(&self, device: &Device) -> Result<OpenedModel> {
        let choice = if self.raw_weights {
            WeightsChoice::Raw
        } else {
            WeightsChoice::Average
        };
        let Some(path) = &self.weights else {
            let LoadedRun { model, config, .. } =
                self.folder().load(self.checkpoint, choice, device)?;
            return Ok(OpenedModel { model, config });
        };
        let path = weights_file(path)?;
        let file = WeightsFile::open(&path, choice)?;
        file.check_published_sizes()?;
        let vocab_size = file.config(self.n_heads)?.vocab_size();
        let tokenizer = self.tokenizer_of(&path, vocab_size)?;
        let model =
            LoadedModel::from_weights(&path, &file, tokenizer, self.seq_len, self.n_heads, device)?;
        let config = model.description.to_config();
        Ok(OpenedModel { model, config })
    }

    /// What results depend on, of the model: an object.
    pub fn settings(&self, run: &OpenedModel) -> Result<Value> {
        let sha256 = self.weights_sha256(run)?;
        Ok(json!({
            "model": self.source(),
            "checkpoint_step": run.model.step,
            "weights": weights_name(run.model.weights),
            "weights_sha256": sha256,
            "config": run.config,
        }))
    }

    /// SHA-256 of the file with the weights.
    pub fn weights_sha256(&self, run: &OpenedModel) -> Result<String> {
        match &self.weights {
            Some(path) => Ok(pgm_data::sha256_of_file(&weights_file(path)?)?.1),
            None => {
                let checkpoint = CheckpointChoice::Step(run.model.step);
                let checkpoint = self.folder().checkpoint(checkpoint)?;
                Ok(checkpoint.weights_sha256(run.model.weights)?)
            }
        }
    }

    /// Which weights are used, in words.
    pub fn weights_in_words(&self, run: &OpenedModel) -> String {
        let name = weights_name(run.model.weights);
        match &self.weights {
            Some(_) if run.model.weights == WeightsSource::Only => {
                format!("the only ones of `{}`", self.source())
            }
            Some(_) => format!("{name}, of `{}`", self.source()),
            None => format!(
                "{name}, checkpoint of step {} of `{}`",
                format::count(run.model.step),
                self.source()
            ),
        }
    }

    fn tokenizer_of(&self, weights: &Path, vocab_size: usize) -> Result<Tokenizer> {
        let choice = self.special_tokens.clone().unwrap_or_default();
        if let Some(path) = &self.tokenizer {
            return Ok(Tokenizer::from_file_choosing(path, &choice)?);
        }
        let beside = weights.with_file_name(TOKENIZER);
        if beside.exists() {
            return Ok(Tokenizer::from_file_choosing(beside, &choice)?);
        }
        let gpt2 = Tokenizer::gpt2().choosing(&choice)?;
        // MASK stands behind its tokens.
        if vocab_size == gpt2.vocab_size() + 1 {
            return Ok(gpt2);
        }
        bail!(
            "there is no `{}`, and a vocabulary of {vocab_size} is not GPT-2's ({}, which is built in); name the \
             tokenizer of the weights with --tokenizer",
            beside.display(),
            gpt2.vocab_size() + 1
        );
    }
}

/// What weights are called.
pub fn weights_name(weights: WeightsSource) -> &'static str {
    match weights {
        WeightsSource::Average => "averaged",
        WeightsSource::Raw => "raw",
        WeightsSource::Only => "only",
    }
}

/// The file itself, or the only one with weights in a folder.
pub fn weights_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let entries = std::fs::read_dir(path)
        .with_context(|| format!("cannot read the folder `{}`", path.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let file = entry?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            found.push(file);
        }
    }
    found.sort();
    match &found[..] {
        [file] => Ok(file.clone()),
        [] => bail!(
            "`{}` holds no file with weights (.{}); a run is opened with --run",
            path.display(),
            ENDINGS.join(", .")
        ),
        _ => {
            let names = found.iter().map(|file| format!("`{}`", file.display()));
            bail!(
                "`{}` holds several files with weights: {}; name one",
                path.display(),
                names.collect::<Vec<_>>().join(", ")
            )
        }
    }
}
