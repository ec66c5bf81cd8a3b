use std::fs;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::DataError;

const SUFFIX: &str = ".tmp";

/// A file that appears under its name only once it is complete.
///
/// It is written under a temporary name in the same folder; [`commit`](Self::commit) renames it. If it is dropped
/// before that, the temporary file is removed.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    writer: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`; the folder must exist.
    pub(crate) fn create(path: &Path) -> Result<Self, DataError> {
        let prefix = temporary_prefix(path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        // Readable by others as far as the umask allows, like any file; a temporary file is private by default.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(folder_of(path))
            .map_err(DataError::io("create a temporary file for", path))?;
        Ok(Self {
            writer: BufWriter::with_capacity(1 << 18, file),
            path: path.to_path_buf(),
        })
    }

    /// Temporary files for `path` that killed processes have left behind. Also those of writers that are at work:
    /// whoever removes them makes sure that there are none.
    pub(crate) fn leftovers(path: &Path) -> Result<Vec<PathBuf>, DataError> {
        let folder = folder_of(path);
        let prefix = temporary_prefix(path);
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(DataError::io("read", folder))? {
            let entry = entry.map_err(DataError::io("read", folder))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(SUFFIX) {
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
    pub(crate) fn commit(self) -> Result<(), DataError> {
        let Self { writer, path } = self;
        let rename = || {
            let file = writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)
        };
        rename().map_err(DataError::io("write", &path))?;
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

/// What the names of temporary files for `path` begin with.
fn temporary_prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.")
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
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
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let plain = folder.path().join("plain");
            fs::write(&plain, b"").unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode(&path), mode(&plain));
            fs::remove_file(plain).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
