use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use crate::{DataError, LockHolder};

/// Keeps something for one process at a time: an advisory lock of the operating system on a file that is there for
/// nothing else.
///
/// The system lets go of it when the process ends, however it ends. The file says who holds it, and is empty
/// otherwise; it stays, since removing it would let two processes hold a lock each.
///
/// A file system without locks (some network file systems) is warned about, and work goes on.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
    is_exclusive: bool,
}

/// What came of asking for a [`FileLock`].
#[derive(Debug)]
pub enum LockAttempt {
    /// It was free.
    Taken(FileLock),
    /// A process has it.
    HeldBy(LockHolder),
}

impl FileLock {
    /// The name of the lock of a file, in the same folder.
    pub fn path_for(path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.lock"))
    }

    /// Takes the lock of this name, if no process has it.
    ///
    /// # Errors
    /// When the file cannot be written; its folder has to exist.
    pub fn try_take(path: &Path) -> Result<LockAttempt, DataError> {
        Self::try_take_with(path, File::try_lock)
    }

    fn try_take_with(
        path: &Path,
        try_lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> Result<LockAttempt, DataError> {
        let file = open(path)?;
        let refused = match try_lock(&file) {
            Ok(()) => None,
            Err(TryLockError::WouldBlock) => return Ok(LockAttempt::HeldBy(noted_in(path))),
            Err(TryLockError::Error(error)) => Some(error),
        };
        Ok(LockAttempt::Taken(Self::noting(file, path, refused)))
    }

    /// Takes the lock of this name, once nobody else has it; `waiting` hears of the process that has it now.
    ///
    /// # Errors
    /// When the file cannot be written; its folder has to exist.
    pub fn wait(path: &Path, waiting: impl FnOnce(&LockHolder)) -> Result<Self, DataError> {
        let holder = match Self::try_take(path)? {
            LockAttempt::Taken(lock) => return Ok(lock),
            LockAttempt::HeldBy(holder) => holder,
        };
        waiting(&holder);
        let file = open(path)?;
        let locked = loop {
            match file.lock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                locked => break locked,
            }
        };
        Ok(Self::noting(file, path, locked.err()))
    }

    /// Whether no other process can have it at the same time; false on a file system without locks.
    pub fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// Notes this process in the file. `refused` is what a file system without locks says.
    fn noting(file: File, path: &Path, refused: Option<io::Error>) -> Self {
        if let Some(error) = &refused {
            let noted = noted_in(path);
            if noted.is_known() && !noted.is_this_process() {
                tracing::warn!(path = %path.display(), %error, last = %noted, "this file system has no locks, and another process noted itself here; make sure that it has ended");
            } else {
                tracing::warn!(path = %path.display(), %error, "this file system has no locks; make sure that no other process works on the same files");
            }
        }
        let mut lock = Self {
            file,
            path: path.to_path_buf(),
            is_exclusive: refused.is_none(),
        };
        // The note is for messages only: a full disk stops work where it matters.
        if let Err(error) = lock.write_note() {
            tracing::debug!(path = %lock.path.display(), %error, "nobody is told who holds this lock");
        }
        lock
    }

    fn write_note(&mut self) -> io::Result<()> {
        let note = serde_json::to_vec(&LockHolder::this_process())?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&note)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.is_exclusive || noted_in(&self.path).is_this_process() {
            // A note that stays behind is read by nobody while the lock is free.
            let _ = self.file.set_len(0);
        }
    }
}

fn open(path: &Path) -> Result<File, DataError> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(DataError::io("create", path))
}

/// Who noted itself in a lock's file. On Windows a file that is locked cannot be read: nobody is known then.
fn noted_in(path: &Path) -> LockHolder {
    let note = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&note).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(path: &Path) -> FileLock {
        match FileLock::try_take(path).unwrap() {
            LockAttempt::Taken(lock) => lock,
            LockAttempt::HeldBy(holder) => panic!("held by {holder}"),
        }
    }

    #[test]
    fn a_lock_is_had_once_and_names_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = FileLock::path_for(&folder.path().join("a.jsonl"));
        assert_eq!(path, folder.path().join(".a.jsonl.lock"));
        let lock = take(&path);
        assert!(lock.is_exclusive());
        let LockAttempt::HeldBy(holder) = FileLock::try_take(&path).unwrap() else {
            panic!("two have it");
        };
        if cfg!(not(windows)) {
            assert!(holder.is_this_process(), "{holder}");
        }
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::channel();
            let path = &path;
            let second = scope.spawn(move || {
                FileLock::wait(path, |_| send.send(()).unwrap()).unwrap();
            });
            receive.recv().unwrap();
            drop(lock);
            second.join().unwrap();
        });
        assert_eq!(fs::read(&path).unwrap(), b"");
        take(&path);
    }

    #[test]
    fn what_a_killed_process_noted_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let note = format!("{{\"process\": 1, \"host\": \"{}\"}}", "x".repeat(500));
        fs::write(&path, note).unwrap();
        let lock = take(&path);
        assert!(noted_in(&path).is_this_process() || cfg!(windows));
        drop(lock);
        assert!(!noted_in(&path).is_known());
    }

    #[test]
    fn work_goes_on_where_there_are_no_locks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        // ENOLCK of Linux, as NFS says it, and what file systems without the operation say.
        for error in [
            io::Error::from_raw_os_error(37),
            io::ErrorKind::Unsupported.into(),
        ] {
            let attempt = FileLock::try_take_with(&path, |_| Err(TryLockError::Error(error)));
            let LockAttempt::Taken(lock) = attempt.unwrap() else {
                panic!("nobody has it");
            };
            assert!(!lock.is_exclusive());
            assert!(noted_in(&path).is_this_process());
            // Another one came and noted itself: the note is its own.
            fs::write(&path, "{\"process\": 1, \"host\": \"elsewhere\"}").unwrap();
            drop(lock);
            assert_eq!(noted_in(&path).host, "elsewhere");
        }
    }
}
