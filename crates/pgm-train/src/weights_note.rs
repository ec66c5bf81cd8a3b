use pgm_data::{Packing, Tokenizer, TokenizerSpec};
use pgm_generation::SamplingSettings;
use pgm_model::weights::WeightsFile;
use serde::{Deserialize, Serialize};

use crate::{ExperimentConfig, LoadedRun, ObjectiveSection, TrainError};

/// What a file with weights says of the run that it is from: what no tensor shows, and whoever uses the weights needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightsNote {
    /// Name of the run.
    pub name: String,
    /// Optimizer steps.
    pub step: usize,
    /// What was learned.
    pub objective: ObjectiveSection,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// How sequences were made of documents.
    pub packing: Packing,
    /// The tokenizer as the configuration named it, unless by the path of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerSpec>,
    /// [`Tokenizer::fingerprint`].
    pub tokenizer_fingerprint: String,
    /// How text is drawn.
    #[serde(default)]
    pub sampling: SamplingSettings,
}

impl WeightsNote {
    /// The name of the key-value pair in the file.
    pub const KEY: &str = "pgm_train.run";

    /// What there is to say of a run.
    pub fn of(run: &LoadedRun) -> Self {
        let config = &run.config;
        let spec = &config.data.tokenizer;
        Self {
            name: config.name.clone(),
            step: run.step,
            objective: config.objective.clone(),
            seq_len: config.data.seq_len,
            packing: config.data.packing,
            tokenizer: (!matches!(spec, TokenizerSpec::File(_))).then(|| spec.clone()),
            tokenizer_fingerprint: run.tokenizer.fingerprint().to_owned(),
            sampling: config.sampling.clone(),
        }
    }

    /// The pair for [`WeightsExport::notes`](pgm_model::weights::WeightsExport::notes).
    pub fn pair(&self) -> (String, String) {
        let text = serde_json::to_string(self).expect("a note has a JSON form");
        (Self::KEY.to_owned(), text)
    }

    /// The note of a file, if it has one: files of others and of older versions have none.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn read(file: &WeightsFile) -> Result<Option<Self>, TrainError> {
        let Some(text) = file.notes().get(Self::KEY) else {
            return Ok(None);
        };
        let note: Self =
            serde_json::from_str(text).map_err(|error| TrainError::File {
                action: "use",
                path: file.path().to_path_buf(),
                reason: format!(
                    "what it says of its run (`{}`) cannot be understood: {error}; write it again with this version of the program",
                    Self::KEY
                ),
            })?;
        Ok(Some(note))
    }

    /// Tells a configuration what it says; the tokenizer only if it is the one that the weights were trained with.
    pub(crate) fn apply(&self, config: &mut ExperimentConfig, tokenizer: &Tokenizer) {
        config.name.clone_from(&self.name);
        config.objective = self.objective.clone();
        config.data.packing = self.packing;
        config.sampling = self.sampling.clone();
        if let Some(spec) = &self.tokenizer
            && self.tokenizer_fingerprint == tokenizer.fingerprint()
        {
            config.data.tokenizer = spec.clone();
        }
    }
}
