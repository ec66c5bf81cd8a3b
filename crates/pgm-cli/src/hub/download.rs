use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use sha2::{Digest as _, Sha256};
use ureq::Body;
use ureq::http::header::CONTENT_RANGE;
use ureq::http::{Response, StatusCode};

use super::hub_client::{HubClient, RemoteFile};
use super::hub_name::HubName;
use crate::progress::Stage;

/// Bytes that are read at a time.
const BUFFER: usize = 256 * 1024;

impl HubClient {
    /// Downloads a file to a path, which exists only when the file is whole. What an interrupted download brought stands
    /// beside it, and the next one goes on there.
    ///
    /// # Errors
    /// When the connection breaks and brings nothing new, the file is not what the hub announced, or it cannot be written.
    pub fn download(
        &self,
        name: &HubName,
        file: &str,
        remote: &RemoteFile,
        path: &Path,
    ) -> Result<()> {
        let mut partial = Partial::open(path)?;
        let mut progress = Progress::new(file, remote.n_bytes);
        let mut furthest = partial.n_bytes;
        loop {
            if remote
                .n_bytes
                .is_some_and(|n_bytes| partial.n_bytes > n_bytes)
            {
                partial.restart()?;
            }
            if partial.n_bytes > 0 && remote.n_bytes == Some(partial.n_bytes) {
                break;
            }
            let broken = match self.receive(name, file, &mut partial, &mut progress) {
                Ok(())
                    if remote
                        .n_bytes
                        .is_none_or(|n_bytes| partial.n_bytes == n_bytes) =>
                {
                    break;
                }
                Ok(())
                    if remote
                        .n_bytes
                        .is_some_and(|n_bytes| partial.n_bytes > n_bytes) =>
                {
                    let n_bytes = remote.n_bytes.unwrap_or_default();
                    partial.restart()?;
                    bail!(
                        "the server sent more of `{file}` of `{}` than the {n_bytes} bytes it announced; run the command again",
                        name.repository()
                    );
                }
                Ok(()) => anyhow!("the connection ended early"),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Broken(error)) => error,
            };
            if partial.n_bytes <= furthest {
                return Err(broken.context(format!(
                    "the download of `{file}` of `{}` broke off at {} bytes (the same command goes on there)",
                    name.repository(),
                    partial.n_bytes
                )));
            }
            furthest = partial.n_bytes;
            tracing::debug!(file, n_bytes = furthest, error = %format!("{broken:#}"), "the connection broke, going on");
        }
        drop(progress);
        if is_sha256(&remote.etag) && partial.sha256()? != remote.etag.to_ascii_lowercase() {
            partial.restart()?;
            bail!(
                "`{file}` of `{}` was damaged on the way: its SHA-256 is not {}; run the command again",
                name.repository(),
                remote.etag
            );
        }
        partial.finish(path)
    }

    /// Appends what comes on one connection.
    fn receive(
        &self,
        name: &HubName,
        file: &str,
        partial: &mut Partial,
        progress: &mut Progress,
    ) -> Result<(), Trouble> {
        let mut response = self.get(name, file, partial.n_bytes)?;
        if partial.n_bytes > 0 && !goes_on(&response, partial.n_bytes) {
            partial.restart().map_err(Trouble::Final)?;
            if response.status() != StatusCode::OK {
                response = self.get(name, file, 0)?;
            }
        }
        if response.status() != StatusCode::OK && !goes_on(&response, partial.n_bytes) {
            let status = response.status();
            return Err(Trouble::Final(anyhow!(
                "the server answers {status} when asked for `{file}` of `{}` from its beginning; does HF_ENDPOINT name a \
                 mirror of the hub?",
                name.repository()
            )));
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            let n_read = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n_read) => n_read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Trouble::Broken(error.into())),
            };
            let appended = partial.append(&buffer[..n_read]);
            appended.map_err(Trouble::Final)?;
            progress.show(partial.n_bytes);
        }
    }
}

/// Why a connection brought no whole file.
pub(super) enum Trouble {
    /// Nobody answers, or no longer; another connection may go on.
    Broken(anyhow::Error),
    /// Another connection would end the same way.
    Final(anyhow::Error),
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
    fn open(whole: &Path) -> Result<Self> {
        let mut path = OsString::from(whole);
        path.push(".incomplete");
        let path = PathBuf::from(path);
        let options = File::options().append(true).create(true).open(&path);
        let file = options.with_context(|| cannot_write(&path))?;
        let n_bytes = file.metadata().with_context(|| cannot_write(&path))?.len();
        Ok(Self {
            path,
            file,
            n_bytes,
        })
    }

    fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .with_context(|| cannot_write(&self.path))?;
        self.n_bytes = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.with_context(|| cannot_write(&self.path))?;
        self.n_bytes += bytes.len() as u64;
        Ok(())
    }

    fn sha256(&self) -> Result<String> {
        let context = || format!("cannot read `{}`", self.path.display());
        let mut file = File::open(&self.path).with_context(context)?;
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut HashWriter(&mut hash)).with_context(context)?;
        Ok(hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    /// Gives the file its name, once its bytes are on the disk.
    fn finish(self, whole: &Path) -> Result<()> {
        self.file
            .sync_all()
            .with_context(|| cannot_write(&self.path))?;
        fs::rename(&self.path, whole).with_context(|| cannot_write(whole))
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much of a file is there, in megabytes.
struct Progress {
    stage: Stage,
    message: String,
    total: Option<u64>,
    shown: Option<u64>,
}

impl Progress {
    fn new(file: &str, n_bytes: Option<u64>) -> Self {
        let total = n_bytes.map(megabytes);
        Self {
            stage: Stage::new("download", total.unwrap_or(0) as usize),
            message: format!("MB of {file}"),
            total,
            shown: None,
        }
    }

    fn show(&mut self, n_bytes: u64) {
        let done = megabytes(n_bytes);
        if self.shown == Some(done) {
            return;
        }
        self.shown = Some(done);
        // A size that is not known is always one megabyte away.
        let total = self.total.unwrap_or(done + 1);
        self.stage
            .update(done as usize, total as usize, &self.message);
    }
}

fn megabytes(n_bytes: u64) -> u64 {
    n_bytes.div_ceil(1_000_000)
}

fn cannot_write(path: &Path) -> String {
    format!(
        "cannot write `{}` (HF_HOME names another folder for downloads)",
        path.display()
    )
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
