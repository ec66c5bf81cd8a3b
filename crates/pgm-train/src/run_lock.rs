use std::fs;

use pgm_data::{FileLock, LockAttempt};

use crate::{Checkpoint, RunFolder, TrainError};

/// Keeps the folder of a run for the process that trains it; reading needs none.
///
/// The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    folder: RunFolder,
    lock: FileLock,
}

impl RunLock {
    /// The file that is locked.
    const FILE_NAME: &str = ".run.lock";

    /// Makes the folder if it is missing, and takes its lock.
    ///
    /// # Errors
    /// When another process trains this run, or the folder cannot be made or written.
    pub(crate) fn take(folder: &RunFolder) -> Result<Self, TrainError> {
        let root = folder.root();
        fs::create_dir_all(root).map_err(TrainError::file("create", root))?;
        match FileLock::try_take(&root.join(Self::FILE_NAME))? {
            LockAttempt::Taken(lock) => Ok(Self {
                folder: folder.clone(),
                lock,
            }),
            LockAttempt::HeldBy(holder) => Err(TrainError::InUse {
                path: root.to_path_buf(),
                holder: Box::new(holder),
            }),
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Deletes the run, and the files with the names `also` that stand beside it.
    ///
    /// Only what a run writes is deleted; other files in the folder stay.
    ///
    /// # Errors
    /// When something cannot be deleted.
    pub fn clear(&self, also: &[&str]) -> Result<(), TrainError> {
        let (folders, files) = self.folder.written();
        for path in folders.iter().filter(|path| path.exists()) {
            fs::remove_dir_all(path).map_err(TrainError::file("remove", path))?;
        }
        let others = also.iter().map(|name| self.folder.root().join(name));
        for path in files.into_iter().chain(others).filter(|path| path.exists()) {
            fs::remove_file(&path).map_err(TrainError::file("remove", &path))?;
        }
        Ok(())
    }

    /// Deletes what processes left that were killed while they wrote or deleted a checkpoint. On a file system without
    /// locks it stays: it may be that of a living process.
    pub(crate) fn remove_leftovers(&self) -> Result<(), TrainError> {
        if self.lock.is_exclusive() {
            Checkpoint::remove_leftovers(&self.folder.checkpoints())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_had_once_and_clearing_it_keeps_the_lock() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(temporary.path().join("run"));
        let lock = folder.lock().unwrap();
        fs::write(folder.metrics(), "").unwrap();
        fs::write(folder.root().join("notes.txt"), "").unwrap();
        fs::write(folder.root().join("also.txt"), "").unwrap();
        lock.clear(&["also.txt", "none.txt"]).unwrap();
        assert!(!folder.root().join("also.txt").exists());
        assert!(!folder.metrics().exists() && folder.root().join("notes.txt").exists());
        let error = folder.lock().unwrap_err();
        assert!(matches!(error, TrainError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("wait until it ends"), "{error}");
        drop(lock);
        folder.lock().unwrap();
    }
}
