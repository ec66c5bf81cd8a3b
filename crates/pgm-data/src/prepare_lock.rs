use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::DataError;

/// Holds an output folder for one preparation at a time, also across processes.
///
/// The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct PrepareLock {
    _file: File,
}

impl PrepareLock {
    /// The empty file that is locked; it stays, since removing it would let two processes hold a lock each.
    pub(crate) const FILE_NAME: &str = ".prepare.lock";

    /// Makes the folder if it is missing, and waits for whoever prepares it at the moment.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub(crate) fn wait(folder: &Path) -> Result<Self, DataError> {
        fs::create_dir_all(folder).map_err(DataError::io("create", folder))?;
        let path = folder.join(Self::FILE_NAME);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(DataError::io("create", &path))?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                tracing::info!(folder = %folder.display(), "waiting for another process that prepares these data");
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        if let Err(error) = locked {
            tracing::warn!(path = %path.display(), %error, "no locks on this file system: prepare this folder by one process at a time");
        }
        Ok(Self { _file: file })
    }
}
