use burn::data::dataset::Dataset;
use pgm_data::{PackedDataset, PackingConfig, PreparedData, ShuffledBatches, TokenBatch, prepare};

use crate::run_folder::vocabulary;
use crate::{ExperimentConfig, RunFolder, TrainError, TrainingEvent, TrainingObserver};

/// The text of a run, ready to be read.
pub(crate) struct ExperimentData {
    pub train: PackedDataset,
    pub validation: PackedDataset,
    pub prepared: PreparedData,
    /// Token ids of the network, MASK included.
    pub vocab_size: usize,
    pub mask_token: usize,
    batches: ShuffledBatches,
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
        folder.save_tokenizer(prepared.tokenizer())?;
        let packing = PackingConfig::for_tokenizer(prepared.tokenizer());
        let seq_len = config.data.seq_len;
        let train = PackedDataset::new(prepared.train().clone(), seq_len, packing)?;
        let validation = PackedDataset::new(prepared.validation().clone(), seq_len, packing)?;
        let batches = ShuffledBatches::new(train.len(), config.training.batch_size, config.seed)?;
        let (vocab_size, mask_token) = vocabulary(prepared.tokenizer());
        Ok(Self {
            train,
            validation,
            prepared,
            vocab_size,
            mask_token,
            batches,
        })
    }

    /// The sequences of an optimizer step, counted from 0.
    pub fn batch(&self, step: usize) -> Result<TokenBatch, TrainError> {
        Ok(TokenBatch::collect(
            &self.train,
            &self.batches.indices(step as u64),
        )?)
    }
}
