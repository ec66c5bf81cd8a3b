use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use pgm_train::{CheckpointChoice, LoadedRun, RunFolder, WeightsChoice};

/// Which trained model to use.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Folder of a run
    #[arg(long, value_name = "DIR", default_value = "runs/quickstart-pgm")]
    pub run: PathBuf,
    /// Which of its checkpoints: `last`, `best` (lowest validation loss) or a step
    #[arg(long, value_name = "WHICH", default_value = "last")]
    pub checkpoint: CheckpointChoice,
    /// Use the weights as after the last step instead of the averaged ones
    #[arg(long)]
    pub raw_weights: bool,
}

impl RunArgs {
    /// The folder of the run.
    pub fn folder(&self) -> RunFolder {
        RunFolder::new(&self.run)
    }

    /// Opens the model.
    pub fn load(&self, device: &Device) -> Result<LoadedRun> {
        let weights = match self.raw_weights {
            true => WeightsChoice::Raw,
            false => WeightsChoice::Average,
        };
        Ok(self.folder().load(self.checkpoint, weights, device)?)
    }
}
