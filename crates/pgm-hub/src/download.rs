use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ureq::Body;
use ureq::http::header::CONTENT_RANGE;
use ureq::http::{Response, StatusCode};

use crate::hub_client::{DownloadProgress, RemoteFile};
use crate::{HubClient, HubError, HubName};

/// Bytes that are read at a time.
const BUFFER: usize = 256 * 1024;

impl HubClient {
    /// Downloads a file to a path, which exists only when the file is whole. What an interrupted download brought stands
    /// beside it, and the next one goes on there.
    ///
    /// # Errors
    /// When the connection breaks and brings nothing new, the file is not what the hub announced, or it cannot be written.
    pub(crate) fn download(
        &self,
        name: &HubName,
        file: &str,
        remote: &RemoteFile,
        path: &Path,
    ) -> Result<(), HubError> {
        let mut partial = Partial::open(path)?;
        self.complete(name, file, remote.n_bytes, &mut partial)?;
        if is_sha256(&remote.etag) && partial.sha256()? != remote.etag.to_ascii_lowercase() {
            partial.restart()?;
            return Err(HubError::Damaged {
                file: file.to_owned(),
                repository: name.repository(),
                sha256: remote.etag.clone(),
            });
        }
        partial.finish(path)
    }

    /// Appends to a file until it is whole, on as many connections as that takes.
    fn complete(
        &self,
        name: &HubName,
        file: &str,
        n_announced: Option<u64>,
        partial: &mut Partial,
    ) -> Result<(), HubError> {
        let mut progress = (self.on_download)(file, n_announced);
        let mut furthest = partial.n_bytes;
        loop {
            if n_announced.is_some_and(|n_bytes| partial.n_bytes > n_bytes) {
                partial.restart()?;
            }
            if partial.n_bytes > 0 && n_announced == Some(partial.n_bytes) {
                return Ok(());
            }
            let broken = match self.receive(name, file, partial, &mut progress) {
                Ok(()) => match n_announced {
                    Some(n_bytes) if partial.n_bytes > n_bytes => {
                        partial.restart()?;
                        return Err(HubError::TooLong {
                            file: file.to_owned(),
                            repository: name.repository(),
                            n_bytes,
                        });
                    }
                    Some(n_bytes) if partial.n_bytes < n_bytes => {
                        "the connection ended early".into()
                    }
                    _ => return Ok(()),
                },
                Err(TransferError::Final(error)) => return Err(error),
                Err(TransferError::Broken(error)) => error,
            };
            if partial.n_bytes <= furthest {
                return Err(HubError::Broken {
                    file: file.to_owned(),
                    repository: name.repository(),
                    n_bytes: partial.n_bytes,
                    source: broken,
                });
            }
            furthest = partial.n_bytes;
            tracing::debug!(file, n_bytes = furthest, error = %broken, "the connection broke, going on");
        }
    }

    /// Appends what comes on one connection.
    fn receive(
        &self,
        name: &HubName,
        file: &str,
        partial: &mut Partial,
        progress: &mut DownloadProgress,
    ) -> Result<(), TransferError> {
        let mut response = self.get(name, file, partial.n_bytes)?;
        if partial.n_bytes > 0 && !goes_on(&response, partial.n_bytes) {
            partial.restart()?;
            if response.status() != StatusCode::OK {
                response = self.get(name, file, 0)?;
            }
        }
        if response.status() != StatusCode::OK && !goes_on(&response, partial.n_bytes) {
            return Err(TransferError::Final(HubError::Beginning {
                status: response.status(),
                file: file.to_owned(),
                repository: name.repository(),
            }));
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            let n_read = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n_read) => n_read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TransferError::Broken(error.into())),
            };
            partial.append(&buffer[..n_read])?;
            progress(partial.n_bytes);
        }
    }
}

/// Why a connection brought no whole file.
pub(crate) enum TransferError {
    /// Nobody answers, or no longer; another connection may go on.
    Broken(Box<dyn Error + Send + Sync>),
    /// Another connection would end the same way.
    Final(HubError),
}

impl From<HubError> for TransferError {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Whether a server sends the part of a file that starts at a byte.
fn goes_on(response: &Response<Body>, start: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE);
    let range = range.and_then(|range| range.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.and_then(start_of_range) == Some(start)
}

/// The beginning of a file.
struct Partial {
    path: PathBuf,
    file: File,
    n_bytes: u64,
}

impl Partial {
    fn open(whole: &Path) -> Result<Self, HubError> {
        let mut path = OsString::from(whole);
        path.push(".incomplete");
        let path = PathBuf::from(path);
        let opened = File::options().append(true).create(true).open(&path);
        let file = opened.map_err(cannot_write(&path))?;
        let n_bytes = file.metadata().map_err(cannot_write(&path))?.len();
        Ok(Self {
            path,
            file,
            n_bytes,
        })
    }

    fn restart(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).map_err(cannot_write(&self.path))?;
        self.n_bytes = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let written = self.file.write_all(bytes);
        written.map_err(cannot_write(&self.path))?;
        self.n_bytes += bytes.len() as u64;
        Ok(())
    }

    fn sha256(&self) -> Result<String, HubError> {
        let (_, sha256) = pgm_data::sha256_of_file(&self.path)?;
        Ok(sha256)
    }

    /// Gives the file its name, once its bytes are on the disk.
    fn finish(self, whole: &Path) -> Result<(), HubError> {
        self.file.sync_all().map_err(cannot_write(&self.path))?;
        fs::rename(&self.path, whole).map_err(cannot_write(whole))
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> HubError {
    let path = path.to_path_buf();
    move |source| HubError::Write { path, source }
}

/// The first byte of `bytes 100-199/200`.
fn start_of_range(range: &str) -> Option<u64> {
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

/// Whether an ETag is the hash of the content, which it is for large files.
fn is_sha256(etag: &str) -> bool {
    etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_start_where_they_say() {
        assert_eq!(start_of_range("bytes 100-199/200"), Some(100));
        assert_eq!(start_of_range("bytes */200"), None);
    }
}
