use std::io;
use std::string::FromUtf8Error;

use burn::store::ApplyError;
use burn::store::burn_pack::Error as PackError;

use crate::file_tensor::UnreadableTensor;

/// What is wrong with a file that weights were to be read from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system does not hand it over.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The length of a safetensors header cannot be read.
    #[error("it is too short for safetensors")]
    TooShort(#[source] io::Error),
    /// The header of a GGUF file ends too early.
    #[error("its header is cut short or cannot be read: {0}")]
    ShortHeader(#[source] io::Error),
    /// The header of a GGUF file holds bytes that are no text.
    #[error("its header has text that is not UTF-8")]
    Text(#[from] FromUtf8Error),
    /// Some JSON in it is damaged.
    #[error("{damage}: {source}")]
    Json {
        /// What that means.
        damage: &'static str,
        /// Where the JSON is damaged.
        source: serde_json::Error,
    },
    /// Burn cannot read it.
    #[error("{0}")]
    Burnpack(#[from] PackError),
    /// A tensor cannot become a parameter.
    #[error("{0}")]
    Parameter(#[source] Box<ApplyError>),
    /// A tensor that is a parameter cannot be read.
    #[error("`{name}` {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// Why.
        #[source]
        reason: UnreadableTensor,
    },
    /// The values of a tensor are in no form that is read.
    #[error("{0}")]
    Unreadable(#[from] UnreadableTensor),
    /// The values that one tensor was asked for cannot be read.
    #[error("`{name}` cannot be read: {source}")]
    Values {
        /// The tensor.
        name: String,
        /// Why.
        source: Box<ReadError>,
    },
    /// It is damaged, or holds something else than weights of a form that is read.
    #[error("{0}")]
    Content(String),
}

impl From<String> for ReadError {
    fn from(content: String) -> Self {
        Self::Content(content)
    }
}

impl From<&str> for ReadError {
    fn from(content: &str) -> Self {
        Self::Content(content.to_owned())
    }
}
