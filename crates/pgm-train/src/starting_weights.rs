use std::fs;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;
use pgm_data::{Tokenizer, TokenizerSpec};
use pgm_model::LanguageModel;
use serde::{Deserialize, Serialize};

use crate::run_folder::TOKENIZER_FILE;
use crate::{ExperimentConfig, RunFolder, TrainError};

/// Weights that a run begins with, instead of random ones.
#[derive(Debug, Clone)]
pub struct StartingWeights {
    /// The network.
    pub network: LanguageModel,
    /// The tokenizer that it was trained with.
    pub tokenizer: Tokenizer,
    /// Where they are from.
    pub origin: WeightsOrigin,
}

/// Where the weights are from that a run began with: `from.json` in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsOrigin {
    /// A model's name, the folder of a run or a file.
    pub source: String,
    /// Which checkpoint of a run was asked for: `last`, `best` or a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Optimizer steps of the weights, 0 if they do not say.
    pub step: usize,
    /// `averaged`, `raw` or `only`.
    pub weights: String,
    /// SHA-256 of the file that holds them.
    pub sha256: String,
}

impl StartingWeights {
    /// The weights in the network of a configuration, whose dropout and number format may be others.
    pub(crate) fn network_for(
        self,
        config: &ExperimentConfig,
        vocab_size: usize,
        device: &Device,
    ) -> Result<LanguageModel, TrainError> {
        let sizes = config.model.network(config.objective.kind, vocab_size);
        sizes
            .init(device)
            .with_precision(config.model.precision)
            .try_load_record(self.network.into_record())
            .map_err(|error| {
                let network = StartingWeightsError::Network {
                    weights: self.origin.in_words(),
                    reason: error.to_string(),
                };
                network.into()
            })
    }
}

impl WeightsOrigin {
    /// In words.
    fn in_words(&self) -> String {
        let checkpoint = match &self.checkpoint {
            Some(checkpoint) => format!(", checkpoint {checkpoint}"),
            None => String::new(),
        };
        format!("`{}`{checkpoint} ({} weights)", self.source, self.weights)
    }

    /// Whether the same weights are asked for.
    fn is_asked_for_by(&self, other: &Self) -> bool {
        self.source == other.source
            && self.checkpoint == other.checkpoint
            && self.weights == other.weights
    }
}

/// Why a run cannot begin with, or go on from, some weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartingWeightsError {
    /// The run began with other weights.
    #[error(
        "`{}` holds a run that began with the weights of {found}, and not of {wanted}",
        path.display()
    )]
    Other {
        /// The folder of the run.
        path: PathBuf,
        /// Those that it began with.
        found: String,
        /// Those that were asked for.
        wanted: String,
    },
    /// They are of another network than the configuration's.
    #[error("the weights of {weights} are not those of the configuration's network: {reason}")]
    Network {
        /// Where they are from.
        weights: String,
        /// Where they differ.
        reason: String,
    },
    /// What the run began with has changed since.
    #[error(
        "the weights of {weights}, with which the run in `{}` began, have changed since (their SHA-256 is {now}, it was {then}); bring them back",
        path.display()
    )]
    Changed {
        /// The folder of the run.
        path: PathBuf,
        /// Where they are from.
        weights: String,
        /// SHA-256 at the start.
        then: String,
        /// SHA-256 now.
        now: String,
    },
    /// The run began with random weights.
    #[error(
        "`{}` holds a run that began with random weights, and not with those of {wanted}",
        path.display()
    )]
    Random {
        /// The folder of the run.
        path: PathBuf,
        /// Those that were asked for.
        wanted: String,
    },
    /// The run was to begin with weights, has done no step, and nobody hands it any.
    #[error(
        "the run in `{}` was to begin with the weights of {wanted} and has no checkpoint yet",
        path.display()
    )]
    Missing {
        /// The folder of the run.
        path: PathBuf,
        /// Those that it was to begin with.
        wanted: String,
    },
}

impl RunFolder {
    /// Where the weights are from that the run began with; none if they were random.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn weights_origin(&self) -> Result<Option<WeightsOrigin>, TrainError> {
        let path = self.weights_origin_file();
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(TrainError::file("read", &path))?;
        serde_json::from_str(&text)
            .map(Some)
            .map_err(TrainError::file("read", &path))
    }

    /// The file that says with which weights the run began.
    pub(crate) fn weights_origin_file(&self) -> PathBuf {
        self.root().join("from.json")
    }

    /// What the configuration of a run that begins with weights calls their tokenizer: it lies in the folder of the run.
    pub fn tokenizer_of_weights(&self, tokenizer: &Tokenizer) -> TokenizerSpec {
        if tokenizer.fingerprint() == Tokenizer::gpt2().fingerprint() {
            TokenizerSpec::Gpt2
        } else {
            TokenizerSpec::File(self.root().join(TOKENIZER_FILE))
        }
    }

    /// Checks that a run in the folder, if there is one, began with these weights, or with random ones for none.
    pub(crate) fn check_origin(&self, wanted: Option<&WeightsOrigin>) -> Result<(), TrainError> {
        let found = self.weights_origin()?;
        let has_steps = self.latest_checkpoint()?.is_some();
        let path = self.root().to_path_buf();
        let error = match (found, wanted) {
            (Some(found), None) if !has_steps => StartingWeightsError::Missing {
                path,
                wanted: found.in_words(),
            },
            (None, Some(wanted)) if has_steps => StartingWeightsError::Random {
                path,
                wanted: wanted.in_words(),
            },
            (Some(found), Some(wanted)) if has_steps && !found.is_asked_for_by(wanted) => {
                StartingWeightsError::Other {
                    path,
                    found: found.in_words(),
                    wanted: wanted.in_words(),
                }
            }
            // A run that was trained on since has another last checkpoint: that is no change of the one taken.
            (Some(found), Some(wanted))
                if has_steps && found.step == wanted.step && found.sha256 != wanted.sha256 =>
            {
                StartingWeightsError::Changed {
                    path,
                    weights: found.in_words(),
                    then: found.sha256,
                    now: wanted.sha256.clone(),
                }
            }
            _ => return Ok(()),
        };
        Err(error.into())
    }

    /// Writes down with which weights the run begins, and keeps their tokenizer.
    pub(crate) fn keep_start(&self, start: &StartingWeights) -> Result<(), TrainError> {
        let text = serde_json::to_string_pretty(&start.origin).expect("an origin has a JSON form");
        pgm_data::write_file(&self.weights_origin_file(), text.as_bytes())?;
        Ok(start.tokenizer.save(self.root().join(TOKENIZER_FILE))?)
    }
}
