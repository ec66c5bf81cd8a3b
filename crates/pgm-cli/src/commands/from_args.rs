use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use clap::Args;
use pgm_data::{Corpus, SpecialTokenChoice, TextCoverage};
use pgm_train::{
    CheckpointChoice, ExperimentConfig, LoadedModel, RunFolder, StartingWeights, WeightsOrigin,
};

use super::run_args::{RunArgs, weights_name};
use crate::{pretrained, text_check};

/// With which weights a run begins, instead of random ones.
#[derive(Debug, Clone, Args)]
pub struct FromArgs {
    /// Begin with the weights of this model: `pretrained`, the folder of a run (its averaged weights), or a file as for
    /// `pgm sample --weights`. The same command goes on with the run after a stop
    #[arg(long, value_name = "NAME, RUN or FILE")]
    from: Option<PathBuf>,
    /// Which checkpoint of the run in --from [default: last]
    #[arg(long, value_name = "WHICH", requires = "from")]
    checkpoint: Option<CheckpointChoice>,
    /// Begin with its weights as after the last step instead of the averaged ones
    #[arg(long, requires = "from")]
    raw_weights: bool,
    /// Tokenizer of a file in --from [default: `tokenizer.json` beside it, or GPT-2's if the vocabulary is its]
    #[arg(long, value_name = "FILE", requires = "from")]
    tokenizer: Option<PathBuf>,
    /// Special tokens of that tokenizer which its files do not tell, as for `pgm sample --special-tokens`
    #[arg(long, value_name = "bos=TOKEN,eos=TOKEN", requires = "from")]
    special_tokens: Option<SpecialTokenChoice>,
    /// Attention heads of a file in --from, if not 64 features each (files of this program say it)
    #[arg(long, value_name = "N", requires = "from")]
    n_heads: Option<usize>,
}

/// The model that a run begins with.
pub struct WeightsToBeginWith {
    /// The model.
    pub model: LoadedModel,
    /// What it is called.
    pub name: String,
    /// Folder of the run that it is of.
    run: Option<RunFolder>,
    origin: WeightsOrigin,
}

/// Bytes of the text whose letters are looked at.
const CHECKED_BYTES: usize = 1 << 20;

impl FromArgs {
    /// Opens the model, if one is named.
    pub fn open(&self, device: &Device) -> Result<Option<WeightsToBeginWith>> {
        let Some(from) = &self.from else {
            return Ok(None);
        };
        let is_pretrained = pretrained::is_named_by(from);
        let is_run = !is_pretrained && from.join("config.toml").is_file();
        if from.is_dir() && !is_run && !is_pretrained {
            self.check_folder(from)?;
        }
        if !is_run && self.checkpoint.is_some() {
            bail!(
                "--checkpoint chooses among those of a run, and `{}` is none",
                from.display()
            );
        }
        if is_run
            && (self.tokenizer.is_some() || self.special_tokens.is_some() || self.n_heads.is_some())
        {
            bail!(
                "`{}` is a run, which says its tokenizer and its heads; leave --tokenizer, --special-tokens and --n-heads out",
                from.display()
            );
        }
        let checkpoint = self.checkpoint.unwrap_or(CheckpointChoice::Last);
        let mut args = if is_run {
            RunArgs::of_run(plain(from), checkpoint, self.raw_weights)
        } else {
            RunArgs {
                tokenizer: self.tokenizer.clone(),
                special_tokens: self.special_tokens.clone(),
                n_heads: self.n_heads,
                ..RunArgs::of_weights(plain(from), self.raw_weights)
            }
        };
        args.locate()?;
        let opened = args
            .load(device)
            .with_context(|| format!("cannot begin with `{}`", from.display()))?;
        let name = args.source();
        let origin = WeightsOrigin {
            source: name.clone(),
            checkpoint: is_run.then(|| checkpoint.to_string()),
            step: opened.model.step,
            weights: weights_name(opened.model.weights).to_owned(),
            sha256: args.weights_sha256(&opened)?,
        };
        Ok(Some(WeightsToBeginWith {
            model: opened.model,
            name,
            run: is_run.then(|| args.folder()),
            origin,
        }))
    }

    /// A folder that is no run has to hold a file with weights.
    fn check_folder(&self, folder: &Path) -> Result<()> {
        super::run_args::weights_file(folder)
            .map(|_| ())
            .with_context(|| {
                format!(
                    "`{}` is no run either: it has no `config.toml`",
                    folder.display()
                )
            })
    }
}

impl WeightsToBeginWith {
    /// What the trainer begins with; tells the configuration where the tokenizer is kept.
    ///
    /// # Errors
    /// When the run would begin with itself, or its text cannot be read.
    pub fn start(
        self,
        config: &mut ExperimentConfig,
        folder: &RunFolder,
    ) -> Result<StartingWeights> {
        if self
            .run
            .is_some_and(|run| is_same(run.root(), folder.root()))
        {
            bail!(
                "`{}` cannot begin with its own weights; name another folder with --output, or train it on with a \
                 larger --set training.n_steps",
                folder.root().display()
            );
        }
        config.data.tokenizer = folder.tokenizer_of_weights(&self.model.tokenizer);
        let corpus = Corpus::open(&config.data.inputs, config.data.split.clone())?
            .with_text_field(&config.data.text_field);
        let mut coverage = TextCoverage::new(&self.model.tokenizer)?;
        let mut n_bytes = 0;
        for document in corpus.documents() {
            let document = document?;
            coverage.add(&document)?;
            n_bytes += document.len();
            if n_bytes > CHECKED_BYTES {
                break;
            }
        }
        text_check::check_text("the text (its beginning)", &coverage);
        Ok(StartingWeights {
            network: self.model.network,
            tokenizer: self.model.tokenizer,
            origin: self.origin,
        })
    }
}

/// The path without what means nothing in it, so that `./runs/a/` is `runs/a`.
fn plain(path: &Path) -> PathBuf {
    let parts = path.components();
    let plain: PathBuf = parts.filter(|part| *part != Component::CurDir).collect();
    if plain.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        plain
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
