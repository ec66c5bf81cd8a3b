//! Files of a checkpoint on the disk: that they get there, and that they are what was written.

use std::fs::File;
use std::path::{Path, PathBuf};

use pgm_data::sha256_of_reader;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// A file as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileDigest {
    pub(crate) name: String,
    bytes: u64,
    pub(crate) sha256: String,
}

/// The digests of some files of a folder; the files are on the disk then.
pub(crate) fn digests(folder: &Path, names: &[&str]) -> Result<Vec<FileDigest>, TrainError> {
    names
        .iter()
        .map(|name| {
            sync(&folder.join(name))?;
            digest(folder, name)
        })
        .collect()
}

/// Waits until the disk has a file, or the names in a folder.
pub(crate) fn sync(path: &Path) -> Result<(), TrainError> {
    // Folders cannot be opened on Windows; a rename is durable there without.
    if cfg!(windows) && path.is_dir() {
        return Ok(());
    }
    let file = File::open(path).map_err(TrainError::file("open", path))?;
    file.sync_all().map_err(TrainError::file("write", path))
}

/// The path of a file, if it is as it was written.
pub(crate) fn check_digest(
    folder: &Path,
    name: &str,
    written: &[FileDigest],
) -> Result<PathBuf, TrainError> {
    let path = folder.join(name);
    let found = digest(folder, name)?;
    if written.contains(&found) {
        return Ok(path);
    }
    let wanted = written.iter().find(|file| file.name == name);
    let reason = match wanted {
        Some(wanted) if wanted.bytes != found.bytes => format!(
            "it has {} bytes and was written with {}; use an older checkpoint, or copy it again",
            found.bytes, wanted.bytes
        ),
        Some(_) => "its SHA-256 is not that of the file that was written; use an older checkpoint, or copy it again".to_string(),
        None => "the checkpoint's `state.json` does not name it".to_string(),
    };
    Err(TrainError::File {
        action: "use",
        path,
        reason,
    })
}

fn digest(folder: &Path, name: &str) -> Result<FileDigest, TrainError> {
    let path = folder.join(name);
    let file = File::open(&path).map_err(TrainError::file("open", &path))?;
    let (bytes, sha256) = sha256_of_reader(file).map_err(TrainError::file("read", &path))?;
    Ok(FileDigest {
        name: name.to_string(),
        bytes,
        sha256,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_and_shortened_files_are_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        std::fs::write(&path, b"weights").unwrap();
        let written = digests(folder.path(), &["a.bin"]).unwrap();
        assert_eq!(
            check_digest(folder.path(), "a.bin", &written).unwrap(),
            path
        );
        for (content, complaint) in [("weighty", "SHA-256"), ("weight", "has 6 bytes")] {
            std::fs::write(&path, content).unwrap();
            let error = check_digest(folder.path(), "a.bin", &written).unwrap_err();
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }
}
