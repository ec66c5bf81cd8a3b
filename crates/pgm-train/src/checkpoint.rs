use std::path::{Path, PathBuf};
use std::{fs, io};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use pgm_model::LanguageModel;
use pgm_weights::WeightsSource;
use serde::{Deserialize, Serialize};

use crate::checkpoint_files::{FileDigest, check_digest, digests, sync};
use crate::training_state::TrainingState;
use crate::{ExponentialMovingAverage, TrainError};

const MODEL_FILE: &str = "model.bpk";
const EMA_FILE: &str = "ema.bpk";
const OPTIMIZER_FILE: &str = "optimizer.bpk";
const STATE_FILE: &str = "state.json";
const VALIDATION_FILE: &str = "validation.json";
const FORMAT_VERSION: u32 = 2;

/// A folder with everything that is needed to go on after an optimizer step.
///
/// It is written under a temporary name, with the SHA-256 of each file, and renamed once the disk has
/// it: a folder with the name of a checkpoint is complete, and a file that changed afterwards is
/// recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The folder.
    pub path: PathBuf,
    /// Optimizer steps done.
    pub step: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    format_version: u32,
    step: usize,
    ema_updates: Option<usize>,
    #[serde(default)]
    files: Vec<FileDigest>,
}

/// What a validation said about a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationScore {
    /// Nats per token, with averaged weights.
    pub nll: f64,
    /// Sequences of the validation.
    pub n_sequences: usize,
}

impl Checkpoint {
    /// The checkpoints of a folder, oldest first.
    ///
    /// # Errors
    /// When the folder exists and cannot be read.
    pub fn list(folder: &Path) -> Result<Vec<Self>, TrainError> {
        if !folder.exists() {
            return Ok(Vec::new());
        }
        // A run that goes on may delete its last checkpoint but one between the reading of the names and the look at what
        // they name, and the next one is not among them: only an old one that is kept would be left.
        let mut found = Self::list_once(folder)?;
        loop {
            let again = Self::list_once(folder)?;
            if again == found {
                return Ok(found);
            }
            found = again;
        }
    }

    fn list_once(folder: &Path) -> Result<Vec<Self>, TrainError> {
        let entries = fs::read_dir(folder).map_err(TrainError::file("read", folder))?;
        let mut checkpoints: Vec<Self> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?;
                let step = name.strip_prefix("step-")?.parse().ok()?;
                path.join(STATE_FILE)
                    .is_file()
                    .then_some(Self { path, step })
            })
            .collect();
        checkpoints.sort_by_key(|checkpoint| checkpoint.step);
        Ok(checkpoints)
    }

    /// The checkpoints that were validated, the lowest loss first, earlier ones before later ones of
    /// the same loss.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn list_by_validation(folder: &Path) -> Result<Vec<Self>, TrainError> {
        let mut scored = Vec::new();
        for checkpoint in Self::list(folder)? {
            if let Some(score) = checkpoint.validation()? {
                scored.push((score.nll, checkpoint));
            }
        }
        scored.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Ok(scored
            .into_iter()
            .map(|(_, checkpoint)| checkpoint)
            .collect())
    }

    /// Writes a checkpoint into the folder of checkpoints, in place of one of the same step.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(folder: &Path, state: &TrainingState) -> Result<Self, TrainError> {
        let step = state.step;
        let path = folder.join(format!("step-{step:08}"));
        let temporary = temporary_folder(folder, step)?;
        let result = write_parts(&temporary, state).and_then(|()| {
            remove_checkpoint(&path)?;
            fs::rename(&temporary, &path).map_err(TrainError::file("write", &path))?;
            sync(folder)
        });
        if let Err(error) = result {
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        Ok(Self { path, step })
    }

    /// Deletes all but the newest checkpoints, the best ones and those of steps that are kept for good.
    pub(crate) fn prune(
        folder: &Path,
        n_newest: usize,
        n_best: usize,
        is_kept: &dyn Fn(usize) -> bool,
    ) -> Result<(), TrainError> {
        let checkpoints = Self::list(folder)?;
        let mut kept = Self::list_by_validation(folder)?;
        kept.truncate(n_best);
        kept.extend(checkpoints.iter().rev().take(n_newest).cloned());
        let for_good = checkpoints.iter().filter(|found| is_kept(found.step));
        kept.extend(for_good.cloned());
        for checkpoint in checkpoints.iter().filter(|found| !kept.contains(found)) {
            remove_checkpoint(&checkpoint.path)?;
        }
        Ok(())
    }

    /// Deletes what interrupted saves and deletions left. No other process may be at work in the folder.
    pub(crate) fn remove_leftovers(folder: &Path) -> Result<(), TrainError> {
        if !folder.exists() {
            return Ok(());
        }
        let entries = fs::read_dir(folder).map_err(TrainError::file("read", folder))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with(".step-") && name.ends_with(".tmp") {
                remove_folder(&path)?;
            }
        }
        Ok(())
    }

    /// Loads the raw weights into a network.
    ///
    /// # Errors
    /// When the file is damaged or of another network.
    pub fn load_network(&self, network: LanguageModel) -> Result<LanguageModel, TrainError> {
        self.load_module(MODEL_FILE, network)
    }

    /// Loads the averaged weights into a network; `None` if the run has none.
    ///
    /// # Errors
    /// When the file is damaged or of another network.
    pub fn load_average(
        &self,
        network: LanguageModel,
    ) -> Result<Option<LanguageModel>, TrainError> {
        match self.ema_updates()? {
            Some(_) => self.load_module(EMA_FILE, network).map(Some),
            None => Ok(None),
        }
    }

    /// SHA-256 of the file with these weights, as it was written.
    ///
    /// # Errors
    /// When the checkpoint does not say so.
    pub fn weights_sha256(&self, weights: WeightsSource) -> Result<String, TrainError> {
        let name = match weights {
            WeightsSource::Average => EMA_FILE,
            WeightsSource::Raw | WeightsSource::Only => MODEL_FILE,
        };
        let files = self.state()?.files;
        match files.into_iter().find(|file| file.name == name) {
            Some(file) => Ok(file.sha256),
            None => Err(TrainError::File {
                action: "use",
                path: self.path.join(STATE_FILE),
                reason: format!("it does not name `{name}`"),
            }),
        }
    }

    pub(crate) fn load_optimizer(
        &self,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, TrainError> {
        let path = self.checked(OPTIMIZER_FILE)?;
        let record = OptimizerRecord::load(&path).map_err(TrainError::file("read", &path))?;
        Ok(optimizer.load_record(record))
    }

    /// Updates of the averaged weights; `None` if the run has none.
    pub(crate) fn ema_updates(&self) -> Result<Option<usize>, TrainError> {
        Ok(self.state()?.ema_updates)
    }

    /// What the validation after this step said, if there was one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn validation(&self) -> Result<Option<ValidationScore>, TrainError> {
        let path = self.path.join(VALIDATION_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TrainError::file("read", &path)(error)),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(TrainError::file("read", &path))
    }

    pub(crate) fn set_validation(&self, score: ValidationScore) -> Result<(), TrainError> {
        let text = serde_json::to_string_pretty(&score).expect("a score has a JSON form");
        Ok(pgm_data::write_file(
            &self.path.join(VALIDATION_FILE),
            text.as_bytes(),
        )?)
    }

    fn state(&self) -> Result<State, TrainError> {
        let path = self.path.join(STATE_FILE);
        let text = pgm_data::read_json_text(&path)?;
        let state: State = serde_json::from_str(&text).map_err(TrainError::file("read", &path))?;
        if state.format_version != FORMAT_VERSION {
            return Err(TrainError::OtherFormat {
                path,
                found: state.format_version,
                readable: FORMAT_VERSION,
            });
        }
        Ok(state)
    }

    /// The path of a file that is as it was written.
    fn checked(&self, name: &str) -> Result<PathBuf, TrainError> {
        check_digest(&self.path, name, &self.state()?.files)
    }

    fn load_module(&self, name: &str, network: LanguageModel) -> Result<LanguageModel, TrainError> {
        let path = self.checked(name)?;
        let record = ModuleRecord::load(&path).map_err(TrainError::file("read", &path))?;
        network
            .try_load_record(record)
            .map_err(TrainError::file("use", &path))
    }
}

fn write_parts(folder: &Path, state: &TrainingState) -> Result<(), TrainError> {
    save_module(&folder.join(MODEL_FILE), &state.model.network)?;
    let mut names = vec![MODEL_FILE, OPTIMIZER_FILE];
    if let Some(ema) = &state.ema {
        save_module(&folder.join(EMA_FILE), ema.average())?;
        names.push(EMA_FILE);
    }
    let path = folder.join(OPTIMIZER_FILE);
    state
        .optimizer
        .to_record()
        .save(&path)
        .map_err(TrainError::file("write", &path))?;
    let description = State {
        format_version: FORMAT_VERSION,
        step: state.step,
        ema_updates: state.ema.as_ref().map(ExponentialMovingAverage::n_updates),
        files: digests(folder, &names)?,
    };
    let text = serde_json::to_string_pretty(&description).expect("the state has a JSON form");
    // Last: its presence says that the checkpoint is complete.
    pgm_data::write_file(&folder.join(STATE_FILE), text.as_bytes())?;
    sync(folder)
}

fn save_module(path: &Path, network: &LanguageModel) -> Result<(), TrainError> {
    network
        .valid()
        .into_record()
        .save(path)
        .map_err(TrainError::file("write", path))
}

/// A new folder for a checkpoint that is being written; no other process has one of this name.
fn temporary_folder(folder: &Path, step: usize) -> Result<PathBuf, TrainError> {
    fs::create_dir_all(folder).map_err(TrainError::file("create", folder))?;
    let process = std::process::id();
    let mut attempt = 0;
    loop {
        let path = folder.join(format!(".step-{step:08}.{process}-{attempt}.tmp"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(TrainError::file("create", &path)(error)),
        }
    }
}

/// Deletes a checkpoint, which is whole as long as it has its name.
fn remove_checkpoint(path: &Path) -> Result<(), TrainError> {
    if !path.exists() {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}-removed.tmp", std::process::id()));
    remove_folder(&aside)?;
    fs::rename(path, &aside).map_err(TrainError::file("remove", path))?;
    remove_folder(&aside)
}

fn remove_folder(path: &Path) -> Result<(), TrainError> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(TrainError::file("remove", path))?;
    }
    Ok(())
}
