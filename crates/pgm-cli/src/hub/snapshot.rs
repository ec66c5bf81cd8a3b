use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Origin;
use super::cache::is_commit;
use super::hub_client::{Answer, HubClient};
use super::hub_name::HubName;

/// A repository at one commit, whose files are downloaded when they are asked for.
pub struct Snapshot<'a> {
    client: &'a HubClient,
    /// With the commit as its revision.
    name: HubName,
    /// Why only what was downloaded before is there, if so.
    offline: Option<String>,
}

impl<'a> Snapshot<'a> {
    /// Asks the hub where a branch or tag is, by one of the repository's files. A commit needs no question, and without
    /// a network the last answer holds.
    ///
    /// # Errors
    /// When the repository or the file does not exist or may not be read, or nobody answers and no answer is known.
    pub fn of(client: &'a HubClient, name: &HubName, file: &str) -> Result<Self> {
        let at = |commit: &str, offline| Self {
            client,
            name: name.at(commit),
            offline,
        };
        if is_commit(&name.revision) {
            return Ok(at(&name.revision, client.offline()));
        }
        let failure = match client.ask(name, file)? {
            Answer::Found(remote) => {
                client.cache.set_commit(name, &remote.commit)?;
                return Ok(at(&remote.commit, None));
            }
            Answer::Absent(refusal) => bail!("{refusal}"),
            Answer::Unreachable(failure) => failure,
        };
        let Some(commit) = client.cache.commit_of(name) else {
            bail!("{failure}");
        };
        tracing::warn!(
            repository = %name.repository(), commit,
            "{failure}; what was downloaded before is used"
        );
        Ok(at(&commit, Some(failure)))
    }

    /// Where the files are from.
    pub fn origin(&self) -> Origin {
        Origin {
            name: self.name.to_string(),
            results: Path::new("runs/hub").join(self.name.repository()),
        }
    }

    /// Words for an error: that not everything could be looked for.
    pub fn whence(&self) -> &'static str {
        match self.offline {
            Some(_) => " among what was downloaded before",
            None => "",
        }
    }

    /// A file, downloaded unless it was before.
    ///
    /// # Errors
    /// When the repository has none of the name, or it cannot be downloaded.
    pub fn file(&self, file: &str) -> Result<PathBuf> {
        match self.find(file)? {
            Ok(path) => Ok(path),
            Err(reason) => bail!("{reason}"),
        }
    }

    /// The same for a file that not every repository has.
    ///
    /// # Errors
    /// When it cannot be downloaded.
    pub fn file_if_any(&self, file: &str) -> Result<Option<PathBuf>> {
        Ok(self.find(file)?.ok())
    }

    /// A file, or why there is none.
    fn find(&self, file: &str) -> Result<Result<PathBuf, String>> {
        let cache = &self.client.cache;
        let path = cache.file(&self.name, file);
        if path.exists() {
            return Ok(Ok(path));
        }
        if cache.is_absent(&self.name, file) {
            return Ok(Err(format!(
                "`{}` has no file `{file}`",
                self.name.repository()
            )));
        }
        if let Some(failure) = &self.offline {
            return Ok(Err(format!(
                "`{file}` of `{}` was not downloaded before: {failure}",
                self.name.repository()
            )));
        }
        match self.client.ask(&self.name, file)? {
            Answer::Found(remote) => {
                let blob = cache.blob(&self.name, &remote.etag)?;
                {
                    let _lock = cache.lock(&self.name, &remote.etag)?;
                    // It may be that of another commit, or of another process.
                    if !blob.exists() && !path.exists() {
                        self.client.download(&self.name, file, &remote, &blob)?;
                    }
                }
                Ok(Ok(cache.link(&self.name, file, &remote.etag)?))
            }
            Answer::Absent(refusal) => {
                cache.set_absent(&self.name, file)?;
                Ok(Err(refusal))
            }
            Answer::Unreachable(failure) => bail!("{failure}"),
        }
    }
}
