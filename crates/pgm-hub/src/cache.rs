use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pgm_data::FileLock;

use crate::{HubError, HubName};

/// The folder that the hub's programs share: `models--OWNER--NAME/` with `blobs/` (files by their ETag), `snapshots/`
/// (commits, whose files are links to blobs), `refs/` (the commit of a branch or tag) and `.no_exist/` (what a commit is
/// known to lack).
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in a folder, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn repository(&self, name: &HubName) -> PathBuf {
        self.folder
            .join(format!("models--{}--{}", name.owner, name.name))
    }

    /// The commit that a branch or tag was at when the hub was asked last.
    pub fn commit_of(&self, name: &HubName) -> Option<String> {
        let path = self.repository(name).join("refs").join(&name.revision);
        let commit = fs::read_to_string(path).ok()?;
        is_commit(commit.trim()).then(|| commit.trim().to_owned())
    }

    /// Notes the commit of a branch or tag.
    pub fn set_commit(&self, name: &HubName, commit: &str) -> Result<(), HubError> {
        let path = self.repository(name).join("refs").join(&name.revision);
        self.write(&path, commit)
    }

    /// Where a file of a commit lies, whether it is there or not.
    pub fn file(&self, name: &HubName, file: &str) -> PathBuf {
        let snapshots = self.repository(name).join("snapshots");
        snapshots.join(&name.revision).join(file)
    }

    /// Whether a commit is known to have no such file.
    pub fn is_absent(&self, name: &HubName, file: &str) -> bool {
        self.absence(name, file).exists()
    }

    /// Notes that a commit has no such file.
    pub fn set_absent(&self, name: &HubName, file: &str) -> Result<(), HubError> {
        self.write(&self.absence(name, file), "")
    }

    fn absence(&self, name: &HubName, file: &str) -> PathBuf {
        let absent = self.repository(name).join(".no_exist");
        absent.join(&name.revision).join(file)
    }

    /// Where a blob lies, whether it is there or not; its folder is made.
    pub fn blob(&self, name: &HubName, etag: &str) -> Result<PathBuf, HubError> {
        let path = self.repository(name).join("blobs").join(etag);
        make_folder_of(&path)?;
        Ok(path)
    }

    /// Waits for whoever downloads a blob at the moment.
    pub fn lock(&self, name: &HubName, etag: &str) -> Result<FileLock, HubError> {
        let repository = self.repository(name);
        let repository = repository.file_name().unwrap_or_default();
        let locks = self.folder.join(".locks").join(repository);
        let path = locks.join(format!("{etag}.lock"));
        make_folder_of(&path)?;
        Ok(FileLock::wait(&path, |holder| {
            tracing::info!(repository = %name.repository(), %holder, "waiting for another process that downloads the same file");
        })?)
    }

    /// Puts a whole blob into its commit, as a link where the file system has them.
    pub fn link(&self, name: &HubName, file: &str, etag: &str) -> Result<PathBuf, HubError> {
        let path = self.file(name, file);
        make_folder_of(&path)?;
        // Out of the folders of the file, of the commit and of `snapshots`.
        let up = "../".repeat(file.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{etag}"));
        match symlink(&target, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.exists() => {}
            Err(_) => {
                let blob = self.blob(name, etag)?;
                fs::rename(&blob, &path).map_err(|source| HubError::Link {
                    path: path.clone(),
                    source,
                })?;
            }
        }
        Ok(path)
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), HubError> {
        make_folder_of(path)?;
        pgm_data::write_file(path, text.as_bytes())?;
        Ok(())
    }
}

/// Whether a text is the hash of a commit.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn make_folder_of(path: &Path) -> Result<(), HubError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(|source| HubError::Folder {
        path: folder.to_path_buf(),
        source,
    })
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
