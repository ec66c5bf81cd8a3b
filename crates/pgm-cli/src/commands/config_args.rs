use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pgm_train::ExperimentConfig;

/// The run of the quick start.
const QUICK_START: &str = include_str!("../../../../configs/quickstart.toml");
/// Stands for the text that comes with the project.
const BUNDLED: &str = "bundled";

/// Which configuration to use, and what to change in it.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The run as a TOML file; the quick start's if left out
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
        let (text, source) = match &self.config {
            Some(path) => (
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read `{}`", path.display()))?,
                path.display().to_string(),
            ),
            None => (QUICK_START.to_string(), "the quick start".to_string()),
        };
        let mut overrides = self.set.clone();
        if let Some(objective) = self.objective {
            let value = objective.to_possible_value().expect("no value is skipped");
            overrides.push(format!("objective.kind=\"{}\"", value.get_name()));
        }
        let mut config = ExperimentConfig::from_toml(&text, &overrides)
            .with_context(|| format!("in {source}"))?;
        for input in &mut config.data.inputs {
            if input == Path::new(BUNDLED) {
                *input = bundled_text()?;
            }
        }
        Ok(config)
    }
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
