use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use pgm_data::{PackedDataset, PackingConfig, PreparedData, Tokenizer};
use pgm_model::weights::WeightsChoice;
use pgm_model::{LanguageModel, LanguageModelConfig};

use crate::{Checkpoint, ExperimentConfig, TrainError};

const CONFIG_FILE: &str = "config.toml";
const TOKENIZER_FILE: &str = "tokenizer.json";

/// The folder of a run and the names of what lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    root: PathBuf,
}

/// A run that was opened for sampling or evaluation.
#[derive(Debug)]
pub struct LoadedRun {
    /// Its configuration.
    pub config: ExperimentConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// The network with the weights of the newest checkpoint.
    pub network: LanguageModel,
    /// The id of MASK.
    pub mask_token: usize,
    /// Optimizer steps of the checkpoint.
    pub step: usize,
}

impl LoadedRun {
    /// The sizes of its network.
    pub fn network_config(&self) -> LanguageModelConfig {
        let (vocab_size, _) = vocabulary(&self.tokenizer);
        let kind = self.config.objective.kind;
        self.config.model.network(kind, vocab_size)
    }
}

impl RunFolder {
    /// A folder that exists or is to be made.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where checkpoints lie.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// One JSON object a line.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// Training and validation loss as a picture.
    pub fn loss_curve(&self) -> PathBuf {
        self.root.join("loss.svg")
    }

    /// Text drawn in the end.
    pub fn samples(&self) -> PathBuf {
        self.root.join("samples.txt")
    }

    /// Prepared tokens, unless the configuration names another folder.
    pub fn data(&self, config: &ExperimentConfig) -> PathBuf {
        config
            .data
            .folder
            .clone()
            .unwrap_or_else(|| self.root.join("data"))
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn latest_checkpoint(&self) -> Result<Option<Checkpoint>, TrainError> {
        Ok(Checkpoint::list(&self.checkpoints())?.pop())
    }

    /// The configuration of the run, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read or used.
    pub fn config(&self) -> Result<Option<ExperimentConfig>, TrainError> {
        let path = self.root.join(CONFIG_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(TrainError::file("read", &path))?;
        ExperimentConfig::from_toml(&text, &[]).map(Some)
    }

    /// Deletes the run.
    ///
    /// Only what a run writes is deleted; other files in the folder stay.
    ///
    /// # Errors
    /// When something cannot be deleted.
    pub fn clear(&self) -> Result<(), TrainError> {
        let folders = [self.checkpoints(), self.root.join("data")];
        for path in folders.iter().filter(|path| path.exists()) {
            fs::remove_dir_all(path).map_err(TrainError::file("remove", path))?;
        }
        let files = [
            self.root.join(CONFIG_FILE),
            self.root.join(TOKENIZER_FILE),
            self.metrics(),
            self.loss_curve(),
            self.samples(),
        ];
        for path in files.iter().filter(|path| path.exists()) {
            fs::remove_file(path).map_err(TrainError::file("remove", path))?;
        }
        Ok(())
    }

    /// Makes the folder and writes the configuration, or checks that it is the one of the run that
    /// is there. A longer or shorter `training.n_steps` is no other run.
    pub(crate) fn start(&self, config: &ExperimentConfig) -> Result<(), TrainError> {
        if let Some(found) = self.config()?
            && let Some(key) = difference(&found, config)
        {
            return Err(TrainError::OtherRun {
                path: self.root.clone(),
                key,
            });
        }
        fs::create_dir_all(&self.root).map_err(TrainError::file("create", &self.root))?;
        let path = self.root.join(CONFIG_FILE);
        pgm_data::write_file(&path, config.to_toml().as_bytes())?;
        Ok(())
    }

    pub(crate) fn save_tokenizer(&self, tokenizer: &Tokenizer) -> Result<(), TrainError> {
        Ok(tokenizer.save(self.root.join(TOKENIZER_FILE))?)
    }

    /// Opens the newest checkpoint on a device.
    ///
    /// # Errors
    /// When the folder is no run, has no checkpoint, or a file is damaged.
    pub fn load(&self, weights: WeightsChoice, device: &Device) -> Result<LoadedRun, TrainError> {
        let missing = |missing| TrainError::NoRun {
            path: self.root.clone(),
            missing,
        };
        let config = self.config()?.ok_or_else(|| missing("config.toml"))?;
        let checkpoint = self
            .latest_checkpoint()?
            .ok_or_else(|| missing("checkpoint"))?;
        let tokenizer = Tokenizer::from_file(self.root.join(TOKENIZER_FILE))?;
        let (vocab_size, mask_token) = vocabulary(&tokenizer);
        let network = config
            .model
            .network(config.objective.kind, vocab_size)
            .init(device);
        let network = match weights {
            WeightsChoice::Raw => checkpoint.load_network(network)?,
            WeightsChoice::Average => match checkpoint.load_average(network.clone())? {
                Some(average) => average,
                None => checkpoint.load_network(network)?,
            },
        };
        Ok(LoadedRun {
            config,
            tokenizer,
            network,
            mask_token,
            step: checkpoint.step,
        })
    }

    /// Opens the held-out text of the run.
    ///
    /// # Errors
    /// When the prepared tokens are missing or damaged.
    pub fn validation_set(&self, config: &ExperimentConfig) -> Result<PackedDataset, TrainError> {
        let data = PreparedData::open(self.data(config))?;
        let packing = PackingConfig::for_tokenizer(data.tokenizer());
        Ok(PackedDataset::new(
            data.validation().clone(),
            config.data.seq_len,
            packing,
        )?)
    }
}

/// The size of the network's vocabulary and the id of MASK in it: the tokenizer's own, or a new
/// one behind its last.
pub fn vocabulary(tokenizer: &Tokenizer) -> (usize, usize) {
    match tokenizer.mask_id() {
        Some(mask) => (tokenizer.vocab_size(), mask as usize),
        None => (tokenizer.vocab_size() + 1, tokenizer.vocab_size()),
    }
}

/// The first table in which two runs differ.
fn difference(found: &ExperimentConfig, wanted: &ExperimentConfig) -> Option<String> {
    let comparable = |config: &ExperimentConfig| {
        let mut config = config.clone();
        config.training.n_steps = 0;
        let mut table: toml::Table = toml::from_str(&config.to_toml()).expect("own TOML");
        table.remove("sampling");
        table
    };
    let (found, wanted) = (comparable(found), comparable(wanted));
    wanted
        .iter()
        .find(|(key, value)| found.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
}
