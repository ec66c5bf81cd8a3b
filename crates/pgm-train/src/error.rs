use std::path::PathBuf;

use pgm_data::{DataError, LockHolder};
use pgm_generation::GenerationError;
use pgm_model::ConfigError;
use pgm_perplexity::PerplexityError;

/// Everything that can go wrong between a configuration and a trained model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The text could not be prepared or read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model could not be sampled.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The perplexity of the model could not be estimated.
    #[error(transparent)]
    Perplexity(#[from] PerplexityError),
    /// The sizes of the network are refused.
    #[error("in `[model]`: {0}")]
    Model(#[from] ConfigError),
    /// The configuration is not TOML, or a key or value is not known.
    #[error("the configuration is refused: {reason}")]
    Config {
        /// What is wrong, with the place.
        reason: String,
    },
    /// A value of the configuration cannot be used.
    #[error("`{key}` is {value}, wanted {wanted}")]
    Value {
        /// Its full name.
        key: &'static str,
        /// The value.
        value: String,
        /// What would do.
        wanted: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{}`: {reason}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A checkpoint was written in another format.
    #[error(
        "cannot use `{}`: its format version is {found}, this program reads {readable}; use the version of the program that wrote it (see `history.jsonl` of the run)",
        path.display()
    )]
    OtherFormat {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read.
        readable: u32,
    },
    /// A folder is no run, or has no checkpoint yet.
    #[error("`{}` has no {missing}; train first, or give the folder of another run", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        missing: &'static str,
    },
    /// A run has no such checkpoint.
    #[error("`{}` has no checkpoint `{wanted}`; it has: {}", path.display(), found.join(", "))]
    NoCheckpoint {
        /// The folder of the run.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// Steps of those that are there.
        found: Vec<String>,
    },
    /// The folder holds a run with another configuration.
    #[error(
        "`{}` holds a run with another configuration (`{key}` differs)",
        path.display()
    )]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// The first table that differs.
        key: String,
    },
    /// Another process trains the run.
    #[error(
        "the run in `{}` is in use: {holder} trains it; wait until it ends, or stop it and start again to go on from its last checkpoint",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process.
        holder: Box<LockHolder>,
    },
    /// The text changed since the run was started.
    #[error(
        "the tokens in `{}` are not those that `{}` was trained on: its text, or how it is split, has changed; bring the text back",
        data.display(),
        path.display()
    )]
    OtherData {
        /// The folder of the tokens.
        data: PathBuf,
        /// The folder of the run.
        path: PathBuf,
    },
    /// The prepared tokens are not those of the run's tokenizer.
    #[error(
        "the tokens in `{}` were made with another tokenizer than the one that `{}` was trained with; prepare them from the run's text again",
        data.display(),
        path.display()
    )]
    OtherTokenizer {
        /// The folder of the tokens.
        data: PathBuf,
        /// The folder of the run.
        path: PathBuf,
    },
    /// A file with weights cannot be used.
    #[error(transparent)]
    Weights(#[from] pgm_weights::WeightsError),
    /// A tokenizer is not that of the weights.
    #[error(
        "the network of `{}` has a vocabulary of {network}, tokenizer `{name}` makes one of {tokenizer} (MASK included); name the one it was trained with",
        path.display()
    )]
    Vocabulary {
        /// The file with the weights.
        path: PathBuf,
        /// Token ids of the network.
        network: usize,
        /// The tokenizer.
        name: String,
        /// Token ids with it.
        tokenizer: usize,
    },
    /// A run cannot begin with some weights.
    #[error(transparent)]
    StartingWeights(#[from] crate::StartingWeightsError),
    /// The configuration asks for something else than the weights are that a run is to begin with.
    #[error(
        "`{key}` is {value}, and {wanted} for the weights of `{source_name}`; leave it out, or train without their weights"
    )]
    OtherThanWeights {
        /// Its full name.
        key: String,
        /// The value.
        value: String,
        /// What the weights are called.
        source_name: String,
        /// Their value.
        wanted: String,
    },
    /// The loss or the gradient is NaN or infinite.
    #[error(
        "the {quantity} is {value} at step {step}; {}; try a lower `optimizer.learning_rate` or `objective.weighting = \"elbo_floored\"`",
        checkpoint.as_ref().map_or(
            "there is no checkpoint yet".to_string(),
            |path| format!("the last good checkpoint is `{}`", path.display())
        )
    )]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// The loss in nats per token, or the norm of the gradient.
        quantity: &'static str,
        /// Its value.
        value: f64,
        /// The last checkpoint, if any.
        checkpoint: Option<PathBuf>,
    },
    /// The work was stopped.
    #[error("interrupted")]
    Interrupted,
    /// The device did not give its results back.
    #[error("the device failed: {reason}")]
    Device {
        /// What it says.
        reason: String,
    },
}

impl TrainError {
    /// For `map_err` on file operations.
    pub(crate) fn file<E: std::fmt::Display>(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |error| Self::File {
            action,
            path,
            reason: error.to_string(),
        }
    }
}
