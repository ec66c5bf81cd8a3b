use std::path::{Path, PathBuf};
use std::{fmt, io};

use pgm_model::ConfigError;

use crate::architecture::ArchitectureError;
use crate::read_error::ReadError;

/// Why weights could not be read, used or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file is missing, damaged or of a form that is not read.
    #[error("cannot read weights from `{path}`: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: ReadError,
    },
    /// The file cannot be written.
    #[error("cannot write weights to `{path}`: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        reason: io::Error,
    },
    /// The tensors of the file are not the parameters of the network.
    #[error("`{path}` holds weights of another network: {mismatch}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Where they differ.
        mismatch: Mismatch,
    },
    /// The file does not say what network it is for.
    #[error("cannot tell the network of `{path}`: {reason}")]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What is missing or odd.
        #[source]
        reason: ArchitectureError,
    },
    /// A file has the name of a published one, and other sizes.
    #[error(
        "`{path}` has the name of a published model, whose sizes are {wanted}; its tensors show {found}; fetch it again, or rename it if it is a model of your own"
    )]
    PublishedSizes {
        /// The file.
        path: PathBuf,
        /// The sizes that its tensors show.
        found: String,
        /// The published ones.
        wanted: String,
    },
    /// The sizes that the file shows make no network.
    #[error("the network of `{path}` cannot be built")]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ConfigError,
    },
    /// Only partition and masked networks were published.
    #[error("autoregressive networks have no published names; write safetensors or burnpack")]
    NoPublishedNames,
}

impl WeightsError {
    pub(crate) fn read(path: &Path, reason: impl Into<ReadError>) -> Self {
        Self::Read {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn write(path: &Path, reason: io::Error) -> Self {
        Self::Write {
            path: path.to_path_buf(),
            reason,
        }
    }

    pub(crate) fn architecture(path: &Path, reason: ArchitectureError) -> Self {
        Self::Architecture {
            path: path.to_path_buf(),
            reason,
        }
    }
}

/// How the tensors of a file and the parameters of a network differ, by the names of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mismatch {
    /// Parameters that the file lacks.
    pub missing: Vec<String>,
    /// Tensors that the network has no place for.
    pub unexpected: Vec<String>,
    /// Tensors of another shape, with the shape found and the shape wanted.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

/// Names that are written out; the rest is counted.
const SHOWN: usize = 3;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect();
        let shapes = self.misshapen.iter().map(|(name, found, wanted)| {
            format!("`{name}` (has {found:?}, the network wants {wanted:?})")
        });
        let parts: [(&str, Vec<String>); 3] = [
            ("missing", names(&self.missing)),
            ("unexpected", names(&self.unexpected)),
            ("of another shape", shapes.collect()),
        ];
        let mut separator = "";
        for (what, entries) in parts.iter().filter(|(_, entries)| !entries.is_empty()) {
            let shown = &entries[..entries.len().min(SHOWN)];
            write!(
                f,
                "{separator}{} {what}: {}",
                entries.len(),
                shown.join(", ")
            )?;
            if entries.len() > SHOWN {
                write!(f, ", ...")?;
            }
            separator = "; ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn the_answer_of_the_system_stays_beneath_what_is_said() {
        let answer = || io::Error::from(io::ErrorKind::NotFound);
        let error = WeightsError::read(Path::new("a.pt"), answer());
        let wanted = format!("cannot read weights from `a.pt`: {}", answer());
        assert_eq!(error.to_string(), wanted);
        let beneath = error.source().and_then(Error::source);
        assert!(beneath.is_some_and(|source| source.is::<io::Error>()));
    }

    #[test]
    fn all_differences_are_counted_and_the_first_named() {
        let mismatch = Mismatch {
            missing: (0..5).map(|i| format!("m{i}")).collect(),
            unexpected: Vec::new(),
            misshapen: vec![("w".into(), vec![2, 3], vec![3, 2])],
        };
        assert_eq!(
            mismatch.to_string(),
            "5 missing: `m0`, `m1`, `m2`, ...; \
             1 of another shape: `w` (has [2, 3], the network wants [3, 2])"
        );
        assert!(Mismatch::default().is_empty());
    }
}
