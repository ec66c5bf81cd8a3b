use std::sync::Arc;

use burn::data::dataset::Dataset;
use pgm_data::{BatchPrefetcher, PreparedData, ShuffledBatches, TokenDataset, prepare};

use crate::run_folder::vocabulary;
use crate::{ExperimentConfig, RunFolder, TrainError, TrainingEvent, TrainingObserver};

/// The text of a run, ready to be read.
pub(crate) struct ExperimentData {
    pub train: TokenDataset,
    pub validation: TokenDataset,
    pub prepared: PreparedData,
    /// Token ids of the network, MASK included.
    pub vocab_size: usize,
    pub mask_token: usize,
}

impl ExperimentData {
    /// Prepares the text, or opens what was prepared before.
    pub fn prepare(
        config: &ExperimentConfig,
        folder: &RunFolder,
        observer: &mut dyn TrainingObserver,
    ) -> Result<Self, TrainError> {
        let prepare_config = config.data.prepare_config(folder.data(config));
        let prepared = prepare(&prepare_config, &mut |event| {
            observer.on_event(TrainingEvent::Preparing(event));
        })?;
        folder.save_data(&prepared)?;
        let tokenizer = prepared.tokenizer();
        let (vocab_size, mask_token) = vocabulary(tokenizer);
        Ok(Self {
            train: config.data.rows(prepared.train(), tokenizer)?,
            validation: config.data.rows(prepared.validation(), tokenizer)?,
            prepared,
            vocab_size,
            mask_token,
        })
    }

    /// The sequences of each optimizer step from `first_step` on, made ahead of time.
    pub fn batches(
        &self,
        config: &ExperimentConfig,
        first_step: usize,
    ) -> Result<BatchPrefetcher, TrainError> {
        let rows = self.train.clone();
        let batches = ShuffledBatches::new(rows.len(), config.training.batch_size, config.seed)?;
        let n_workers = config.data.workers;
        Ok(BatchPrefetcher::new(
            Arc::new(rows),
            batches,
            first_step as u64,
            n_workers,
        ))
    }
}
