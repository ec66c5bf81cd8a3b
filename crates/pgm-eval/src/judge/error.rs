use std::path::PathBuf;

use pgm_data::DataError;
use pgm_judges::JudgeConfigError;
use pgm_weights::WeightsError;

/// Why a judge could not be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// A file of a judge cannot be read.
    #[error(
        "cannot read `{}` of the judge: {reason}; wanted a folder with `config.json`, `model.safetensors` and `tokenizer.json`, or a `.gguf` file", path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        reason: std::io::Error,
    },
    /// The network is none that is there.
    #[error("`{}` describes no judge: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: JudgeConfigError,
    },
    /// The weights cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer cannot be used, or a text file is none.
    #[error(transparent)]
    Tokenizer(#[from] DataError),
    /// There is no tokenizer.
    #[error("the judge has no `tokenizer.json` (`{}` does not exist); put the one of its network there", path.display())]
    NoTokenizer {
        /// The file.
        path: PathBuf,
    },
    /// The header of a GGUF file describes no tokenizer that is there.
    #[error("the tokenizer in `{}` cannot be used: {reason}", path.display())]
    GgufTokenizer {
        /// The file.
        path: PathBuf,
        /// What is missing or odd.
        reason: String,
    },
    /// Tokenizer and network do not belong together.
    #[error(
        "the tokenizer of judge `{}` has {tokenizer} tokens, its network {network}; they do not belong together", judge.display()
    )]
    Vocabulary {
        /// The judge.
        judge: PathBuf,
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Tokens of the network.
        network: usize,
    },
    /// The network's output is no number.
    #[error(
        "judge `{judge}` gives no number: the cost of token {token} of a text is {value}; its weights are damaged"
    )]
    NotFinite {
        /// The judge.
        judge: String,
        /// The value.
        value: f32,
        /// The token, counted from 0.
        token: usize,
    },
    /// The device did not give its results back.
    #[error("the device failed: {reason}")]
    Device {
        /// What it says.
        reason: String,
    },
}

impl JudgeError {
    /// Says what a judge consists of where its first file is not there.
    pub(super) fn of_config(error: DataError) -> Self {
        match error {
            DataError::Io { path, reason, .. } => Self::File { path, reason },
            DataError::MissingPath { path } => Self::File {
                path,
                reason: std::io::ErrorKind::NotFound.into(),
            },
            other => Self::Tokenizer(other),
        }
    }
}
