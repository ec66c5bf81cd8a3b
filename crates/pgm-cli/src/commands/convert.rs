use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use clap::{Args, ValueEnum};
use pgm_model::{LanguageModel, LanguageModelConfig, cost};
use pgm_train::{CheckpointChoice, RunFolder, WeightsChoice, WeightsNote};
use pgm_weights::{StoredDtype, WeightsExport, WeightsFile, WeightsFormat, WeightsSource};

use crate::{format, model_name};

const AFTER_HELP: &str = "\
Examples:
  pgm convert pgm_8_8.ckpt --to safetensors --output pgm_8_8.safetensors
      a checkpoint of the authors, its averaged weights, for this program
  pgm convert hub:jdeschena/pgm/pgm_8_8.ckpt --to safetensors --output pgm_8_8.safetensors
      the same, downloaded first
  pgm convert runs/quickstart-pgm --to safetensors --dtype f16 --output model.safetensors
      a model of your own in half the bytes; with the run's tokenizer.json beside it, `--weights` opens it
  pgm convert runs/quickstart-pgm --to published --output quickstart.safetensors
      a model of your own, for the authors' PyTorch code
  pgm convert runs/quickstart-pgm --to burnpack --output quickstart.bpk --weights raw
      as after the last step, for a Burn program

Nothing that is stored in a checkpoint is executed. A file that is written here says which
network it is for, and of a run the length of its sequences and its settings of sampling;
`pgm info FILE` shows it. docs/weights.md has more.";

/// Write the weights of a run or of a published checkpoint in another format
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ConvertArgs {
    /// The folder of a run, `pretrained`, or a file with weights: a checkpoint of the authors (.ckpt, .pt),
    /// safetensors or burnpack; `hub:OWNER/NAME/FILE` is downloaded from the Hugging Face hub
    #[arg(value_name = "RUN or FILE")]
    input: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// The number format of the weights in the file
    #[arg(long, value_name = "DTYPE", default_value = "f32")]
    dtype: Dtype,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Which weights of a run or a training checkpoint
    #[arg(long, default_value = "ema")]
    weights: Weights,
    /// Which checkpoint of a run: `last`, `best` (lowest validation loss) or a step
    #[arg(long, value_name = "WHICH", default_value = "last")]
    checkpoint: CheckpointChoice,
    /// Attention heads, if not 64 features each (no tensor shows their number; files of this program
    /// and runs say it)
    #[arg(long, value_name = "N")]
    n_heads: Option<usize>,
    /// Replace the output file if it exists
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Safetensors with this program's names
    Safetensors,
    /// Burn's own format with this program's names
    Burnpack,
    /// Safetensors with the names and the layout of the authors' PyTorch code
    Published,
}

/// In which number format weights are written; they are read into float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    /// float32: nothing is lost
    F32,
    /// float16: half the bytes, 11 significant bits, up to 65504
    F16,
    /// bfloat16: half the bytes, 8 significant bits
    Bf16,
}

/// Which weights of a run or a training checkpoint to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weights {
    /// Averaged over training (the raw ones if there are no others)
    Ema,
    /// As after the last step
    Raw,
}

impl ConvertArgs {
    pub fn run(mut self) -> Result<ExitCode> {
        check_output(&self.output, self.force)?;
        self.input = model_name::weights(&self.input)?.path;
        let loaded = self.load()?;
        let format = match self.to {
            Format::Safetensors => WeightsFormat::Safetensors,
            Format::Burnpack => WeightsFormat::Burnpack,
            Format::Published => WeightsFormat::Published,
        };
        let (dtype, in_dtype) = match self.dtype {
            Dtype::F32 => (StoredDtype::F32, "float32"),
            Dtype::F16 => (StoredDtype::F16, "float16"),
            Dtype::Bf16 => (StoredDtype::Bf16, "bfloat16"),
        };
        let export = WeightsExport {
            format,
            dtype,
            notes: loaded.note.iter().map(WeightsNote::pair).collect(),
        };
        self.write(&loaded, &export)?;
        println!(
            "wrote {}: {} parameters in {in_dtype}, {}",
            self.output.display(),
            format::count(cost::n_parameters(&loaded.config)),
            loaded.source
        );
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the file beside its place and puts it there when it is whole. A file that another process has put there
    /// meanwhile stays, unless it is to be replaced.
    fn write(&self, loaded: &Loaded, export: &WeightsExport) -> Result<()> {
        let beside = tempfile::Builder::new()
            .prefix(".pgm-convert-")
            .tempdir_in(folder_of(&self.output))
            .with_context(|| cannot_write(&self.output))?;
        let path = beside
            .path()
            .join(self.output.file_name().unwrap_or_default());
        export.save(&loaded.network, &loaded.config, &path)?;
        if self.force {
            return fs::rename(&path, &self.output).with_context(|| cannot_write(&self.output));
        }
        let whole = tempfile::TempPath::try_from_path(path)?;
        let Err(failed) = whole.persist_noclobber(&self.output) else {
            return Ok(());
        };
        if failed.error.kind() == io::ErrorKind::AlreadyExists || self.output.exists() {
            bail!(
                "`{}` was written by another process meanwhile; --force replaces it",
                self.output.display()
            );
        }
        // A file system that cannot give a name and refuse to replace a file at once.
        fs::rename(&failed.path, &self.output).with_context(|| cannot_write(&self.output))
    }

    fn load(&self) -> Result<Loaded> {
        let choice = match self.weights {
            Weights::Ema => WeightsChoice::Average,
            Weights::Raw => WeightsChoice::Raw,
        };
        let device = Device::flex();
        if self.input.is_dir() {
            if self.n_heads.is_some() {
                bail!("a run says how many heads it has; leave `--n-heads` out");
            }
            let run = RunFolder::new(&self.input).load(self.checkpoint, choice, &device)?;
            let has_average = run.config.optimizer.ema_decay > 0.0;
            let weights = match self.weights {
                Weights::Ema if has_average => "averaged weights",
                Weights::Ema | Weights::Raw => "raw weights",
            };
            return Ok(Loaded {
                note: Some(WeightsNote::from_model(&run.model)),
                config: run.model.network_config(),
                source: format!("{weights} of step {}", format::count(run.model.step)),
                network: run.model.network,
            });
        }
        let file = WeightsFile::open(&self.input, choice)?;
        let config = file.config(self.n_heads)?;
        if !file.has_sizes() && self.n_heads.is_none() {
            tracing::info!(
                "64 features a head and pre-query learn+freqs, as published; the file does not tell"
            );
        }
        let source = match file.source() {
            WeightsSource::Average => "averaged weights",
            WeightsSource::Raw => "raw weights",
            WeightsSource::Only => "the weights of the file",
        };
        Ok(Loaded {
            network: file.load(self.n_heads, &device)?,
            config,
            note: WeightsNote::read(&file)?,
            source: source.into(),
        })
    }
}

struct Loaded {
    network: LanguageModel,
    config: LanguageModelConfig,
    /// What there is to say of its run.
    note: Option<WeightsNote>,
    /// What was read, in words.
    source: String,
}

/// Refuses what cannot be written before anything is read.
fn check_output(path: &Path, force: bool) -> Result<()> {
    if path.is_dir() {
        bail!("`{}` is a folder, wanted a file", path.display());
    }
    if path.exists() && !force {
        bail!("`{}` exists; --force replaces it", path.display());
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        bail!("there is no folder `{}` to write to", folder.display());
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use pgm_model::DitConfig;

    use super::*;

    #[test]
    fn what_another_process_wrote_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = DitConfig {
            vocab_size: 9,
            d_model: 8,
            n_heads: 1,
            n_blocks: 1,
            cond_dim: 4,
            ..Default::default()
        };
        let config = LanguageModelConfig::Masked(sizes);
        let loaded = Loaded {
            network: config.init(&Device::flex()),
            config,
            source: String::new(),
            note: None,
        };
        let mut args = ConvertArgs {
            input: PathBuf::new(),
            to: Format::Burnpack,
            dtype: Dtype::F32,
            output: folder.path().join("a.bpk"),
            weights: Weights::Ema,
            checkpoint: CheckpointChoice::Last,
            n_heads: None,
            force: false,
        };
        check_output(&args.output, args.force).unwrap();
        fs::write(&args.output, "of the other").unwrap();
        for format in [WeightsFormat::Burnpack, WeightsFormat::Safetensors] {
            let export = WeightsExport::new(format);
            let error = args.write(&loaded, &export).unwrap_err().to_string();
            assert!(error.contains("by another process meanwhile"), "{error}");
            assert_eq!(fs::read(&args.output).unwrap(), b"of the other");
        }
        args.force = true;
        args.write(&loaded, &WeightsExport::new(WeightsFormat::Burnpack))
            .unwrap();
        assert!(fs::metadata(&args.output).unwrap().len() > 100);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
