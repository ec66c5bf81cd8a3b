use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use pgm_data::{DataError, PreparedData, SpecialTokens, TokenDataset, Tokenizer};
use pgm_weights::{WeightsChoice, WeightsSource};
use serde::{Deserialize, Serialize};

use crate::{
    Checkpoint, CheckpointChoice, ExperimentConfig, LearningRateSchedule, LoadedModel,
    ModelDescription, Provenance, RunLock, TrainError,
};

const CONFIG_FILE: &str = "config.toml";
pub(crate) const TOKENIZER_FILE: &str = "tokenizer.json";
const DATA_FILE: &str = "data.json";

/// The folder of a run and the names of what lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    root: PathBuf,
}

/// A run that was opened for sampling or evaluation.
#[derive(Debug)]
pub struct LoadedRun {
    /// Its model, with the weights of a checkpoint.
    pub model: LoadedModel,
    /// Its configuration.
    pub config: ExperimentConfig,
    /// SHA-256 of the file with these weights, as it was written.
    pub weights_sha256: String,
}

/// Which tokens a run was trained on.
#[derive(Debug, Serialize, Deserialize)]
struct TrainedData {
    train_sha256: String,
    validation_sha256: String,
    /// Not all of them can be told from the tokenizer's file; runs of older versions do not have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    special_tokens: Option<SpecialTokens>,
}

impl TrainedData {
    fn from_prepared(data: &PreparedData) -> Self {
        Self {
            train_sha256: data.train().checksum(),
            validation_sha256: data.validation().checksum(),
            special_tokens: Some(data.tokenizer().special_tokens().clone()),
        }
    }

    fn has_shards_of(&self, other: &Self) -> bool {
        self.train_sha256 == other.train_sha256 && self.validation_sha256 == other.validation_sha256
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

    /// Text drawn after each validation, a file each.
    pub fn samples_of_validations(&self) -> PathBuf {
        self.root.join("samples")
    }

    /// Who ran this and when, one JSON object for each start.
    pub fn history(&self) -> PathBuf {
        self.root.join("history.jsonl")
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

    /// A checkpoint.
    ///
    /// # Errors
    /// When there is none of this kind, or the folder cannot be read.
    pub fn checkpoint(&self, choice: CheckpointChoice) -> Result<Checkpoint, TrainError> {
        let folder = self.checkpoints();
        let mut all = Checkpoint::list(&folder)?;
        let steps = all
            .iter()
            .map(|checkpoint| checkpoint.step.to_string())
            .collect();
        let (found, wanted) = match choice {
            CheckpointChoice::Last => {
                return all.pop().ok_or_else(|| self.missing("checkpoint"));
            }
            CheckpointChoice::Best => {
                let mut scored = Checkpoint::list_by_validation(&folder)?;
                scored.truncate(1);
                (scored.pop(), "best".to_string())
            }
            CheckpointChoice::Step(step) => {
                let found = all.into_iter().find(|checkpoint| checkpoint.step == step);
                (found, step.to_string())
            }
        };
        found.ok_or_else(|| TrainError::NoCheckpoint {
            path: self.root.clone(),
            wanted,
            found: steps,
        })
    }

    fn missing(&self, missing: &'static str) -> TrainError {
        TrainError::NoRun {
            path: self.root.clone(),
            missing,
        }
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
        let text = pgm_data::read_text(&path)?;
        ExperimentConfig::from_toml(&text, &[]).map(Some)
    }

    /// Keeps the folder for this process, which is going to train the run; makes it if it is missing.
    ///
    /// # Errors
    /// When another process has it, or it cannot be made or written.
    pub fn lock(&self) -> Result<RunLock, TrainError> {
        RunLock::take(self)
    }

    /// The folders and the files that a run writes.
    pub(crate) fn written(&self) -> ([PathBuf; 3], [PathBuf; 8]) {
        let folders = [
            self.checkpoints(),
            self.samples_of_validations(),
            self.root.join("data"),
        ];
        let files = [
            self.root.join(CONFIG_FILE),
            self.weights_origin_file(),
            self.root.join(TOKENIZER_FILE),
            self.root.join(DATA_FILE),
            self.metrics(),
            self.loss_curve(),
            self.samples(),
            self.history(),
        ];
        (folders, files)
    }

    /// Makes the folder and writes the configuration, or checks that it is the one of the run that
    /// is there. A longer or shorter `training.n_steps` is no other run, unless the learning rate
    /// depends on it; nor is another number of `data.workers`, or leave to lose text.
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

    /// Keeps the tokenizer of `data` and its checksums with the run; a run that is resumed must have been
    /// trained on it.
    ///
    /// # Errors
    /// When the run was trained on other data, or a file cannot be written.
    pub fn save_data(&self, data: &PreparedData) -> Result<(), TrainError> {
        if self.latest_checkpoint()?.is_some() {
            self.check_data(data)?;
        }
        fs::create_dir_all(&self.root).map_err(TrainError::file("create", &self.root))?;
        data.tokenizer().save(self.root.join(TOKENIZER_FILE))?;
        let text =
            serde_json::to_string_pretty(&TrainedData::from_prepared(data)).expect("plain texts");
        Ok(pgm_data::write_file(
            &self.root.join(DATA_FILE),
            text.as_bytes(),
        )?)
    }

    /// Takes over which tokenizer and tokens another run was trained on: this one is going to refuse others.
    ///
    /// # Errors
    /// When a file of the other run cannot be read, or one here not be written.
    pub fn copy_data_of(&self, other: &RunFolder) -> Result<(), TrainError> {
        fs::create_dir_all(&self.root).map_err(TrainError::file("create", &self.root))?;
        for name in [TOKENIZER_FILE, DATA_FILE] {
            let path = other.root.join(name);
            let content = fs::read(&path).map_err(TrainError::file("read", &path))?;
            pgm_data::write_file(&self.root.join(name), &content)?;
        }
        Ok(())
    }

    fn check_data(&self, data: &PreparedData) -> Result<(), TrainError> {
        self.check_tokenizer(data)?;
        if self
            .trained_data()?
            .has_shards_of(&TrainedData::from_prepared(data))
        {
            return Ok(());
        }
        Err(TrainError::OtherData {
            data: data.folder().to_path_buf(),
            path: self.root.clone(),
        })
    }

    fn trained_data(&self) -> Result<TrainedData, TrainError> {
        let path = self.root.join(DATA_FILE);
        let text = pgm_data::read_json_text(&path)?;
        serde_json::from_str(&text).map_err(TrainError::file("read", &path))
    }

    /// The tokenizer, with the special tokens that it was trained with.
    fn tokenizer(&self) -> Result<Tokenizer, TrainError> {
        let path = self.root.join(TOKENIZER_FILE);
        let noted = if self.root.join(DATA_FILE).exists() {
            self.trained_data()?.special_tokens
        } else {
            None
        };
        Ok(match noted {
            Some(tokens) => Tokenizer::from_file_with_tokens(path, &tokens)?,
            None => Tokenizer::from_file(path)?,
        })
    }

    fn check_tokenizer(&self, data: &PreparedData) -> Result<(), TrainError> {
        let is_same = match self.tokenizer() {
            Ok(tokenizer) => tokenizer.fingerprint() == data.tokenizer().fingerprint(),
            Err(TrainError::Data(DataError::OtherSpecialToken { .. })) => false,
            Err(error) => return Err(error),
        };
        if is_same {
            return Ok(());
        }
        Err(TrainError::OtherTokenizer {
            data: data.folder().to_path_buf(),
            path: self.root.clone(),
        })
    }

    /// Notes a start, after so many optimizer steps.
    pub(crate) fn append_history(
        &self,
        provenance: &Provenance,
        step: usize,
    ) -> Result<(), TrainError> {
        Ok(pgm_data::append_line(
            &self.history(),
            &provenance.line(step),
        )?)
    }

    pub(crate) fn save_samples(&self, texts: &[String]) -> Result<(), TrainError> {
        write_samples(&self.samples(), texts)
    }

    pub(crate) fn save_samples_of(&self, step: usize, texts: &[String]) -> Result<(), TrainError> {
        let folder = self.samples_of_validations();
        fs::create_dir_all(&folder).map_err(TrainError::file("create", &folder))?;
        write_samples(&folder.join(format!("step-{step:08}.txt")), texts)
    }

    /// Opens a checkpoint on a device. The run may go on meanwhile: where it deletes the checkpoint, the one that is the
    /// last or the best then is opened.
    ///
    /// # Errors
    /// When the folder is no run, has no such checkpoint, or a file is damaged.
    pub fn load(
        &self,
        checkpoint: CheckpointChoice,
        weights: WeightsChoice,
        device: &Device,
    ) -> Result<LoadedRun, TrainError> {
        let config = self.config()?.ok_or_else(|| self.missing("config.toml"))?;
        let mut found = self.checkpoint(checkpoint)?;
        loop {
            let failed = match self.load_found(&config, &found, weights, device) {
                Ok(run) => return Ok(run),
                Err(failed) => failed,
            };
            let now = self.checkpoint(checkpoint)?;
            if now == found {
                return Err(failed);
            }
            found = now;
        }
    }

    fn load_found(
        &self,
        config: &ExperimentConfig,
        checkpoint: &Checkpoint,
        weights: WeightsChoice,
        device: &Device,
    ) -> Result<LoadedRun, TrainError> {
        let tokenizer = self.tokenizer()?;
        let (vocab_size, mask_token) = vocabulary(&tokenizer);
        let network = config
            .model
            .network(config.objective.kind, vocab_size)
            .init(device)
            .with_precision(config.model.precision);
        let (network, weights) = match weights {
            WeightsChoice::Raw => (checkpoint.load_network(network)?, WeightsSource::Raw),
            WeightsChoice::Average => match checkpoint.load_average(network.clone())? {
                Some(average) => (average, WeightsSource::Average),
                None => (checkpoint.load_network(network)?, WeightsSource::Raw),
            },
        };
        Ok(LoadedRun {
            model: LoadedModel {
                network,
                tokenizer,
                mask_token,
                description: ModelDescription::from_config(config),
                step: checkpoint.step,
                weights,
            },
            config: config.clone(),
            weights_sha256: checkpoint.weights_sha256(weights)?,
        })
    }

    /// Opens the held-out text of the run.
    ///
    /// # Errors
    /// When the prepared tokens are missing, damaged or others than the run's.
    pub fn validation_set(&self, config: &ExperimentConfig) -> Result<TokenDataset, TrainError> {
        let data = PreparedData::open(self.data(config))?;
        self.check_data(&data)?;
        Ok(config.data.rows(data.validation(), data.tokenizer())?)
    }
}

fn write_samples(path: &Path, texts: &[String]) -> Result<(), TrainError> {
    let text = texts.join(pgm_generation::SAMPLE_SEPARATOR);
    Ok(pgm_data::write_file(path, text.as_bytes())?)
}

/// The size of the network's vocabulary and the id of MASK in it: the tokenizer's own, or a new
/// one behind its last.
pub fn vocabulary(tokenizer: &Tokenizer) -> (usize, usize) {
    match tokenizer.mask_id() {
        Some(mask) => (tokenizer.vocab_size(), mask as usize),
        None => (tokenizer.vocab_size() + 1, tokenizer.vocab_size()),
    }
}

/// The first setting in which two runs differ.
fn difference(found: &ExperimentConfig, wanted: &ExperimentConfig) -> Option<String> {
    let comparable = |config: &ExperimentConfig| {
        let mut config = config.clone();
        if config.optimizer.schedule == LearningRateSchedule::Constant {
            config.training.n_steps = 0;
        }
        config.data.workers = 0;
        // It lets a run begin, and changes nothing in it.
        config.data.allow_lossy_tokenizer = false;
        let mut table: toml::Table = toml::from_str(&config.to_toml()).expect("own TOML");
        table.remove("sampling");
        table
    };
    let (found, wanted) = (comparable(found), comparable(wanted));
    let key = wanted
        .iter()
        .find(|(key, value)| found.get(*key) != Some(value))?
        .0;
    // The first value that differs, where it lies in a table.
    let inner = wanted[key].as_table().and_then(|table| {
        let other = found.get(key)?.as_table()?;
        let mut keys = table.keys().chain(other.keys());
        keys.find(|key| table.get(*key) != other.get(*key))
    });
    Some(match inner {
        Some(inner) => format!("{key}.{inner}"),
        None => key.clone(),
    })
}
