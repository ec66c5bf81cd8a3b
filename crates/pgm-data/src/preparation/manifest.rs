use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::AtomicFile;
use crate::{
    BadLines, DataError, DocumentSplit, SpecialTokens, TextLoss, TokenizerSpec, ValidationSplit,
    read_json_text,
};

/// What a folder of prepared data was made from and what it holds; `manifest.json`.
///
/// It is written last: a folder that has one is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this file's format and of the preparation itself.
    pub format_version: u32,
    /// SHA-256 of the settings and of every source's content: the same key means the same tokens.
    pub content_key: String,
    /// The tokenizer asked for.
    pub tokenizer: TokenizerSpec,
    /// The fingerprint of the tokenizer used.
    pub tokenizer_fingerprint: String,
    /// One more than the tokenizer's largest id.
    pub vocab_size: usize,
    /// Its tokens that stand for no text; manifests of older versions do not have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub special_tokens: Option<SpecialTokens>,
    /// What of the text the tokens do not have, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_loss: Option<TextLoss>,
    /// How `.txt` files were cut into documents.
    pub split: DocumentSplit,
    /// The field of `.jsonl` lines that held the text, where there were such files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// What became of `.jsonl` lines that are no documents.
    #[serde(default, skip_serializing_if = "BadLines::is_default")]
    pub bad_lines: BadLines,
    /// What was kept out of training.
    pub validation: ValidationSplit,
    /// The files read, in order.
    pub sources: Vec<SourceRecord>,
    /// What `train.tok` holds.
    pub train: ShardRecord,
    /// What `validation.tok` holds.
    pub validation_set: ShardRecord,
}

/// A text file that went into prepared data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// The path, as it was reached from the inputs.
    pub path: PathBuf,
    /// Its size in bytes.
    pub n_bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Documents in it.
    pub n_documents: usize,
    /// Lines in it that are no documents and were left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_skipped_lines: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The counts of one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRecord {
    /// Documents, or parts of documents.
    pub n_documents: u64,
    /// Tokens.
    pub n_tokens: u64,
    /// Bytes of text behind the tokens; bits per byte are counted against these.
    pub n_text_bytes: u64,
}

impl Manifest {
    /// The version written and read.
    pub const VERSION: u32 = 1;
    /// The manifest's name in its folder.
    pub const FILE_NAME: &str = "manifest.json";

    /// Reads the manifest of `folder`.
    ///
    /// # Errors
    /// When there is none, or it is not one of this version.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(Self::FILE_NAME);
        let not_prepared = || DataError::NotPrepared {
            folder: folder.to_path_buf(),
        };
        let text = read_json_text(&path).map_err(|error| match error {
            DataError::MissingPath { .. } => not_prepared(),
            DataError::Io { reason, .. } if reason.kind() == ErrorKind::NotADirectory => {
                not_prepared()
            }
            other => other,
        })?;
        let failed = |source| DataError::Manifest {
            path: path.clone(),
            reason: source,
        };
        let manifest: Self = serde_json::from_str(&text).map_err(failed)?;
        if manifest.format_version == Self::VERSION {
            Ok(manifest)
        } else {
            let problem = format!(
                "it has format version {}, this program reads version {}",
                manifest.format_version,
                Self::VERSION
            );
            Err(failed(serde::de::Error::custom(problem)))
        }
    }

    /// Writes the manifest into `folder` as a whole.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), DataError> {
        let path = folder.join(Self::FILE_NAME);
        let text = serde_json::to_string_pretty(self).map_err(|source| DataError::Manifest {
            path: path.clone(),
            reason: source,
        })?;
        AtomicFile::write(&path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(format_version: u32) -> Manifest {
        Manifest {
            format_version,
            content_key: "key".to_owned(),
            tokenizer: TokenizerSpec::Gpt2,
            tokenizer_fingerprint: "fingerprint".to_owned(),
            vocab_size: 50257,
            special_tokens: Some(crate::Tokenizer::gpt2().special_tokens().clone()),
            text_loss: None,
            split: DocumentSplit::Separator("%".to_owned()),
            text_field: None,
            bad_lines: BadLines::Refuse,
            validation: ValidationSplit::Fraction(0.1),
            sources: Vec::new(),
            train: ShardRecord::default(),
            validation_set: ShardRecord::default(),
        }
    }

    #[test]
    fn a_manifest_survives_its_file_and_other_versions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Manifest::read(folder.path()).unwrap_err();
        assert!(matches!(missing, DataError::NotPrepared { .. }));
        manifest(1).write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), manifest(1));
        manifest(2).write(folder.path()).unwrap();
        let newer = Manifest::read(folder.path()).unwrap_err();
        assert!(newer.to_string().contains("format version 2"), "{newer}");
    }
}
