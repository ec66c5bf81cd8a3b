use std::path::PathBuf;

use crate::cache::is_commit;
use crate::hub_client::Answer;
use crate::{HubClient, HubError, HubName};

/// A repository at one commit, whose files are downloaded when they are asked for.
#[derive(Debug)]
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
    pub fn open(client: &'a HubClient, name: &HubName, file: &str) -> Result<Self, HubError> {
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
            Answer::Absent(reason) => return Err(HubError::Missing { reason }),
            Answer::Unreachable(failure) => failure,
        };
        let Some(commit) = client.cache.commit_of(name) else {
            return Err(HubError::Refused { reason: failure });
        };
        tracing::warn!(
            repository = %name.repository(), commit,
            "{failure}; what was downloaded before is used"
        );
        Ok(at(&commit, Some(failure)))
    }

    /// The name of the repository, with the commit as its revision.
    pub fn name(&self) -> &HubName {
        &self.name
    }

    /// Whether only what was downloaded before is looked at.
    pub fn is_offline(&self) -> bool {
        self.offline.is_some()
    }

    /// A file, downloaded unless it was before.
    ///
    /// # Errors
    /// When the repository has none of the name, or it cannot be downloaded.
    pub fn file(&self, file: &str) -> Result<PathBuf, HubError> {
        let cache = &self.client.cache;
        let repository = self.name.repository();
        let path = cache.file(&self.name, file);
        if path.exists() {
            return Ok(path);
        }
        if cache.is_absent(&self.name, file) {
            return Err(HubError::Missing {
                reason: format!("`{repository}` has no file `{file}`"),
            });
        }
        if let Some(failure) = &self.offline {
            return Err(HubError::Missing {
                reason: format!("`{file}` of `{repository}` was not downloaded before: {failure}"),
            });
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
                cache.link(&self.name, file, &remote.etag)
            }
            Answer::Absent(reason) => {
                cache.set_absent(&self.name, file)?;
                Err(HubError::Missing { reason })
            }
            Answer::Unreachable(reason) => Err(HubError::Refused { reason }),
        }
    }

    /// The same for a file that not every repository has.
    ///
    /// # Errors
    /// When it cannot be downloaded.
    pub fn file_if_any(&self, file: &str) -> Result<Option<PathBuf>, HubError> {
        match self.file(file) {
            Ok(path) => Ok(Some(path)),
            Err(HubError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
