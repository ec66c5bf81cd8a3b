use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::DataError;

/// A file that appears under its name only once it is complete.
///
/// It is written under a temporary name in the same folder; [`commit`](Self::commit) renames it. Dropped
/// before that, it is removed.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    writer: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    is_committed: bool,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`; the folder must exist.
    pub(crate) fn create(path: &Path) -> Result<Self, DataError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A process of another host or container may have the same id, and a killed one may have left a file.
        let (temporary, file) = loop {
            let temporary = path.with_file_name(format!(
                ".{name}.{}-{}.tmp",
                std::process::id(),
                COUNTER.fetch_add(1, Ordering::Relaxed)
            ));
            let created = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&temporary);
            match created {
                Ok(file) => break (temporary, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(DataError::io("create", &temporary)(error)),
            }
        };
        Ok(Self {
            writer: BufWriter::with_capacity(1 << 18, file),
            temporary,
            path: path.to_path_buf(),
            is_committed: false,
        })
    }

    /// Temporary files for `path` that killed processes have left behind. Also those of writers that are at work:
    /// whoever removes them makes sure that there are none.
    pub(crate) fn leftovers(path: &Path) -> Result<Vec<PathBuf>, DataError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let begin = format!(".{name}.");
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(DataError::io("read", folder))? {
            let entry = entry.map_err(DataError::io("read", folder))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&begin) && name.ends_with(".tmp") {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// The name that the file gets in the end.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything to the disk and gives the file its name, replacing an older one.
    pub(crate) fn commit(mut self) -> Result<(), DataError> {
        self.writer
            .flush()
            .and_then(|()| self.writer.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .map_err(DataError::io("write", &self.path))?;
        self.is_committed = true;
        Ok(())
    }

    /// Writes `bytes` to `path` as a whole.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
        let mut file = Self::create(path)?;
        file.write_all(bytes)
            .map_err(DataError::io("write", path))?;
        file.commit()
    }
}

/// Writes a file as a whole: it appears under its name, or replaces an older one, only once it is
/// complete.
///
/// # Errors
/// When the folder does not exist or cannot be written.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    AtomicFile::write(path, bytes)
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.writer.seek(position)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_committed
            && let Err(error) = fs::remove_file(&self.temporary)
        {
            tracing::warn!(path = %self.temporary.display(), %error, "cannot remove a temporary file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_file_leaves_nothing_and_a_committed_one_only_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        fs::write(folder.path().join(".a.bin.7-0.tmp"), b"killed").unwrap();
        fs::write(folder.path().join(".b.bin.7-0.tmp"), b"another").unwrap();
        let leftovers = AtomicFile::leftovers(&path).unwrap();
        assert_eq!(leftovers, [folder.path().join(".a.bin.7-0.tmp")]);
        fs::remove_file(&leftovers[0]).unwrap();
        fs::remove_file(folder.path().join(".b.bin.7-0.tmp")).unwrap();

        AtomicFile::write(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
