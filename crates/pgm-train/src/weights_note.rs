use pgm_data::{Packing, Tokenizer, TokenizerSpec};
use pgm_generation::SamplingSettings;
use pgm_weights::WeightsFile;
use serde::{Deserialize, Serialize};

use crate::{LoadedModel, ModelDescription, ObjectiveSection, TrainError};

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

    /// What there is to say of a model.
    pub fn from_model(model: &LoadedModel) -> Self {
        let said = &model.description;
        let spec = &said.tokenizer;
        Self {
            name: said.name.clone(),
            step: model.step,
            objective: said.objective.clone(),
            seq_len: said.seq_len,
            packing: said.packing,
            tokenizer: (!matches!(spec, TokenizerSpec::File(_))).then(|| spec.clone()),
            tokenizer_fingerprint: model.tokenizer.fingerprint().to_owned(),
            sampling: said.sampling.clone(),
        }
    }

    /// The pair for [`WeightsExport::notes`](pgm_weights::WeightsExport::notes).
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

    /// Puts what it says into a description; the tokenizer only if it is the one that the weights were trained with.
    pub(crate) fn apply(&self, description: &mut ModelDescription, tokenizer: &Tokenizer) {
        description.name.clone_from(&self.name);
        description.objective = self.objective.clone();
        description.packing = self.packing;
        description.sampling = self.sampling.clone();
        if let Some(spec) = &self.tokenizer
            && self.tokenizer_fingerprint == tokenizer.fingerprint()
        {
            description.tokenizer = spec.clone();
        }
    }
}
