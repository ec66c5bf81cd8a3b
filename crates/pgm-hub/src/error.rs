use std::error::Error;
use std::io;
use std::path::PathBuf;

use pgm_data::DataError;
use ureq::http::StatusCode;

use crate::HubName;

/// Why the hub's files are not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A text does not name a repository or a file in one.
    #[error(
        "`{prefix}{text}` names nothing on the hub; wanted `{prefix}OWNER/NAME`, `{prefix}OWNER/NAME/FILE`, \
         either with `@REVISION` behind it, as in `{prefix}openai-community/gpt2-large@main`",
        prefix = HubName::PREFIX
    )]
    Name {
        /// The text, without the prefix.
        text: String,
    },
    /// A file for the cache cannot be read, written or locked.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A folder of the cache cannot be made.
    #[error("cannot make the folder `{}` for downloads (HF_HOME names another)", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A download cannot be written.
    #[error("cannot write `{}` (HF_HOME names another folder for downloads)", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A downloaded file cannot be put into its commit.
    #[error("cannot write `{}`", path.display())]
    Link {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Certificates cannot be read.
    #[error("cannot read certificates from `{}`, which SSL_CERT_FILE names", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The hub refuses what it was asked for, or nobody answers.
    #[error("{reason}")]
    Refused {
        /// What was refused, and the way out.
        reason: String,
    },
    /// A repository has no file of the name.
    #[error("{reason}")]
    Missing {
        /// Which file, where it was looked for, and the way out.
        reason: String,
    },
    /// Renamed repositories lead in a circle.
    #[error("`{repository}` leads from one name to the next without an end: {url}")]
    Renames {
        /// The repository that was asked for.
        repository: String,
        /// The last address.
        url: String,
    },
    /// A server answers otherwise than the hub.
    #[error(
        "{url} does not answer as the Hugging Face hub does (commit {commit:?}, ETag {etag:?}); does HF_ENDPOINT name a \
         mirror of it?"
    )]
    NotAHub {
        /// The address.
        url: String,
        /// What it says of the commit.
        commit: String,
        /// What it says of the content.
        etag: String,
    },
    /// A server does not send a file from its beginning.
    #[error(
        "the server answers {status} when asked for `{file}` of `{repository}` from its beginning; does HF_ENDPOINT name a \
         mirror of the hub?"
    )]
    Beginning {
        /// The answer.
        status: StatusCode,
        /// The file.
        file: String,
        /// Its repository.
        repository: String,
    },
    /// A server sends more than it announced.
    #[error(
        "the server sent more of `{file}` of `{repository}` than the {n_bytes} bytes it announced; run the command again"
    )]
    TooLong {
        /// The file.
        file: String,
        /// Its repository.
        repository: String,
        /// Its announced size in bytes.
        n_bytes: u64,
    },
    /// The connection broke and brought nothing new.
    #[error(
        "the download of `{file}` of `{repository}` broke off at {n_bytes} bytes (the same command goes on there)"
    )]
    Broken {
        /// The file.
        file: String,
        /// Its repository.
        repository: String,
        /// Bytes that are there.
        n_bytes: u64,
        /// Why it broke.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file is not the one that was announced.
    #[error(
        "`{file}` of `{repository}` was damaged on the way: its SHA-256 is not {sha256}; run the command again"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Its repository.
        repository: String,
        /// Its announced SHA-256.
        sha256: String,
    },
}
