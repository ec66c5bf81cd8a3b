use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pgm_train::{ExperimentConfig, LoadedModel, parse_toml};

/// The run of the quick start.
const QUICK_START: &str = include_str!("../../../../configs/quickstart.toml");
/// A run on text of one's own that begins with the weights of another model.
const FINE_TUNING: &str = include_str!("../../../../configs/fine-tuning/fine-tuned.toml");
/// Stands for the text that comes with the project.
pub const BUNDLED: &str = "bundled";

/// Which configuration to use, and what to change in it.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The run as a TOML file [default: the quick start's; with --from configs/fine-tuning/fine-tuned.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is learned, instead of the configuration's `objective.kind`
    #[arg(long)]
    objective: Option<Objective>,
    /// Change one value, for instance `--set training.n_steps=500`; may be repeated
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Objective {
    /// Partition generative model
    Pgm,
    /// Masked diffusion
    Mdlm,
    /// Masked diffusion with a mask and its complement
    ComplementMdlm,
    /// Autoregressive
    Ar,
}

impl ConfigArgs {
    /// The same changes to another configuration.
    pub fn with_file(&self, path: &Path) -> Self {
        Self {
            config: Some(path.to_path_buf()),
            ..self.clone()
        }
    }

    /// Whether anything was chosen.
    pub fn is_given(&self) -> bool {
        self.config.is_some() || self.objective.is_some() || !self.set.is_empty()
    }

    /// Reads the configuration.
    pub fn load(&self) -> Result<ExperimentConfig> {
        let (text, name) = self.text(QUICK_START, "the quick start")?;
        let config = ExperimentConfig::from_toml(&text, &self.overrides());
        with_bundled_text(config.with_context(|| format!("in the configuration of {name}"))?)
    }

    /// Reads the configuration of a run that begins with the weights of `source`, called `source_name`.
    pub fn load_for(&self, source: &LoadedModel, source_name: &str) -> Result<ExperimentConfig> {
        let (text, name) = self.text(FINE_TUNING, "configs/fine-tuning/fine-tuned.toml")?;
        let in_config = || format!("in the configuration of {name}");
        let overrides = self.overrides();
        let given: serde_json::Value = parse_toml(&text, &overrides).with_context(in_config)?;
        if given["data"]["inputs"].is_null() {
            bail!("--from wants text to train on; name it with --set 'data.inputs=[\"FOLDER\"]'");
        }
        let config = ExperimentConfig::inheriting(source, source_name, &text, &overrides);
        with_bundled_text(config.with_context(in_config)?)
    }

    /// The text of the configuration, or of the usual one, and what it is called.
    fn text(&self, usual: &str, usual_name: &str) -> Result<(String, String)> {
        let Some(path) = &self.config else {
            return Ok((usual.to_owned(), usual_name.to_owned()));
        };
        Ok((pgm_data::read_text(path)?, path.display().to_string()))
    }

    fn overrides(&self) -> Vec<String> {
        let mut overrides = self.set.clone();
        if let Some(objective) = self.objective {
            let value = objective.to_possible_value().expect("no value is skipped");
            overrides.push(format!("objective.kind=\"{}\"", value.get_name()));
        }
        overrides
    }
}

/// The configuration with the path of the bundled text where that is named.
fn with_bundled_text(mut config: ExperimentConfig) -> Result<ExperimentConfig> {
    resolve_inputs(&mut config.data.inputs)?;
    Ok(config)
}

/// Puts the path of the bundled text where that is named.
pub fn resolve_inputs(inputs: &mut [PathBuf]) -> Result<()> {
    for input in inputs {
        if input == Path::new(BUNDLED) {
            *input = bundled_text()?;
        }
    }
    Ok(())
}

/// The folder with the project's own text.
fn bundled_text() -> Result<PathBuf> {
    let in_checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pgm-data/corpus");
    match in_checkout.canonicalize() {
        Ok(path) => Ok(path),
        Err(_) => bail!(
            "the bundled text is not at `{}`, where this binary was built; give text of your own with --set 'data.inputs=[\"FOLDER\"]'",
            in_checkout.display()
        ),
    }
}
