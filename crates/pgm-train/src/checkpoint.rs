use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use pgm_model::LanguageModel;
use serde::{Deserialize, Serialize};

use crate::{ExponentialMovingAverage, TrainError};

const MODEL_FILE: &str = "model.bpk";
const EMA_FILE: &str = "ema.bpk";
const OPTIMIZER_FILE: &str = "optimizer.bpk";
const STATE_FILE: &str = "state.json";
const FORMAT_VERSION: u32 = 1;

/// A folder with everything that is needed to go on after an optimizer step.
///
/// It is written under a temporary name and renamed, so that a folder with the name of a
/// checkpoint is complete.
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

    pub(crate) fn save(
        folder: &Path,
        step: usize,
        network: &LanguageModel,
        ema: Option<&ExponentialMovingAverage<LanguageModel>>,
        optimizer: &ModuleOptimizer,
    ) -> Result<Self, TrainError> {
        let path = folder.join(format!("step-{step:08}"));
        let temporary = folder.join(format!(".step-{step:08}.tmp"));
        remove_folder(&temporary)?;
        fs::create_dir_all(&temporary).map_err(TrainError::file("create", &temporary))?;
        let result = write_parts(&temporary, step, network, ema, optimizer).and_then(|()| {
            remove_folder(&path)?;
            fs::rename(&temporary, &path).map_err(TrainError::file("write", &path))
        });
        if let Err(error) = result {
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        Ok(Self { path, step })
    }

    /// Deletes all but the newest checkpoints, and what an interrupted save left.
    pub(crate) fn prune(folder: &Path, keep: usize) -> Result<(), TrainError> {
        let checkpoints = Self::list(folder)?;
        let surplus = checkpoints.len().saturating_sub(keep);
        for checkpoint in &checkpoints[..surplus] {
            remove_folder(&checkpoint.path)?;
        }
        Ok(())
    }

    /// Loads the raw weights into a network.
    ///
    /// # Errors
    /// When the file is damaged or of another network.
    pub fn load_network(&self, network: LanguageModel) -> Result<LanguageModel, TrainError> {
        load_module(&self.path.join(MODEL_FILE), network)
    }

    /// Loads the averaged weights into a network; `None` if the run has none.
    ///
    /// # Errors
    /// When the file is damaged or of another network.
    pub fn load_average(
        &self,
        network: LanguageModel,
    ) -> Result<Option<LanguageModel>, TrainError> {
        let path = self.path.join(EMA_FILE);
        path.is_file()
            .then(|| load_module(&path, network))
            .transpose()
    }

    pub(crate) fn load_optimizer(
        &self,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, TrainError> {
        let path = self.path.join(OPTIMIZER_FILE);
        let record = OptimizerRecord::load(&path).map_err(TrainError::file("read", &path))?;
        Ok(optimizer.load_record(record))
    }

    /// Updates of the averaged weights; `None` if the run has none.
    pub(crate) fn ema_updates(&self) -> Result<Option<usize>, TrainError> {
        let path = self.path.join(STATE_FILE);
        let text = fs::read_to_string(&path).map_err(TrainError::file("read", &path))?;
        let state: State = serde_json::from_str(&text).map_err(TrainError::file("read", &path))?;
        if state.format_version != FORMAT_VERSION {
            return Err(TrainError::File {
                action: "use",
                path,
                reason: format!(
                    "its format version is {}, this program reads {FORMAT_VERSION}",
                    state.format_version
                ),
            });
        }
        Ok(state.ema_updates)
    }
}

fn write_parts(
    folder: &Path,
    step: usize,
    network: &LanguageModel,
    ema: Option<&ExponentialMovingAverage<LanguageModel>>,
    optimizer: &ModuleOptimizer,
) -> Result<(), TrainError> {
    save_module(&folder.join(MODEL_FILE), network)?;
    if let Some(ema) = ema {
        save_module(&folder.join(EMA_FILE), ema.average())?;
    }
    let path = folder.join(OPTIMIZER_FILE);
    optimizer
        .to_record()
        .save(&path)
        .map_err(TrainError::file("write", &path))?;
    let state = State {
        format_version: FORMAT_VERSION,
        step,
        ema_updates: ema.map(|ema| ema.n_updates()),
    };
    let text = serde_json::to_string_pretty(&state).expect("the state has a JSON form");
    // Last: its presence says that the checkpoint is complete.
    pgm_data::write_file(&folder.join(STATE_FILE), text.as_bytes())?;
    Ok(())
}

fn save_module(path: &Path, network: &LanguageModel) -> Result<(), TrainError> {
    network
        .valid()
        .into_record()
        .save(path)
        .map_err(TrainError::file("write", path))
}

fn load_module(path: &Path, network: LanguageModel) -> Result<LanguageModel, TrainError> {
    let record = ModuleRecord::load(path).map_err(TrainError::file("read", path))?;
    network
        .try_load_record(record)
        .map_err(TrainError::file("use", path))
}

fn remove_folder(path: &Path) -> Result<(), TrainError> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(TrainError::file("remove", path))?;
    }
    Ok(())
}
