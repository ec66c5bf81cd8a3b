use std::fs;
use std::path::Path;

use crate::{DataError, FileLock};

/// Holds an output folder for one preparation at a time, also across processes.
#[derive(Debug)]
pub(crate) struct PrepareLock {
    _lock: FileLock,
}

impl PrepareLock {
    /// The file that is locked.
    pub(crate) const FILE_NAME: &str = ".prepare.lock";

    /// Makes the folder if it is missing, and waits for whoever prepares it at the moment.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub(crate) fn wait(folder: &Path) -> Result<Self, DataError> {
        fs::create_dir_all(folder).map_err(DataError::io("create", folder))?;
        let lock = FileLock::wait(&folder.join(Self::FILE_NAME), |holder| {
            tracing::info!(folder = %folder.display(), %holder, "waiting for another process that prepares these data");
        })?;
        Ok(Self { _lock: lock })
    }
}
