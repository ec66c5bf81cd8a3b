use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pgm_train::{ExperimentConfig, TrainingState};

use crate::commands::config_args::ConfigArgs;

/// The network to measure; its weights are random.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Token ids, MASK included
    #[arg(long, default_value_t = 50258, value_parser = RangedU64ValueParser::<usize>::new().range(2..))]
    vocab_size: usize,
}

impl NetworkArgs {
    /// Reads the configuration.
    pub fn config(&self) -> Result<ExperimentConfig> {
        self.config.load()
    }

    /// The last token id.
    pub fn mask_token(&self) -> usize {
        self.vocab_size - 1
    }

    /// The network and its optimizer before the first step.
    pub fn state(&self, config: &ExperimentConfig, device: &Device) -> Result<TrainingState> {
        let mask_token = self.mask_token();
        Ok(TrainingState::new(
            config,
            self.vocab_size,
            mask_token,
            None,
            device,
        )?)
    }
}
