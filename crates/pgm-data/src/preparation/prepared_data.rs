use std::path::{Path, PathBuf};

use crate::{DataError, Manifest, TokenShard, Tokenizer};

/// A finished folder of [`prepare`](crate::prepare): two shards, their tokenizer and a manifest.
#[derive(Debug, Clone)]
pub struct PreparedData {
    folder: PathBuf,
    manifest: Manifest,
    tokenizer: Tokenizer,
    train: TokenShard,
    validation: TokenShard,
}

impl PreparedData {
    /// The training shard's name in its folder.
    pub const TRAIN_FILE: &str = "train.tok";
    /// The validation shard's name in its folder.
    pub const VALIDATION_FILE: &str = "validation.tok";
    /// The tokenizer's name in its folder.
    pub const TOKENIZER_FILE: &str = "tokenizer.json";

    /// Opens a folder and checks that its files are whole and belong together.
    ///
    /// # Errors
    /// When the folder is not finished, a file is damaged, or shards and tokenizer do not belong together.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, DataError> {
        let folder = folder.as_ref();
        let manifest = Manifest::read(folder)?;
        let tokenizer_path = folder.join(Self::TOKENIZER_FILE);
        let noted = manifest.special_tokens.as_ref();
        let tokenizer =
            noted.map(|tokens| Tokenizer::from_file_with_tokens(&tokenizer_path, tokens));
        let tokenizer = match tokenizer {
            // One with other tokens has another fingerprint, which is what to say of it.
            Some(Err(DataError::OtherSpecialToken { .. })) | None => {
                Tokenizer::from_file(&tokenizer_path)?
            }
            Some(read) => read?,
        };
        let tokenizer = tokenizer.with_name(manifest.tokenizer.to_string());
        let belongs = |path: &Path, got: String| {
            if got == manifest.tokenizer_fingerprint {
                Ok(())
            } else {
                Err(DataError::TokenizerMismatch {
                    path: path.to_path_buf(),
                    got,
                    wanted: manifest.tokenizer_fingerprint.clone(),
                })
            }
        };
        belongs(&tokenizer_path, tokenizer.fingerprint().to_owned())?;
        let open_shard = |name: &str| {
            let shard = TokenShard::open(folder.join(name))?;
            belongs(shard.path(), shard.tokenizer_fingerprint())?;
            Ok::<_, DataError>(shard)
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            train: open_shard(Self::TRAIN_FILE)?,
            validation: open_shard(Self::VALIDATION_FILE)?,
            tokenizer,
            manifest,
        })
    }

    /// The tokens to train on.
    pub fn train(&self) -> &TokenShard {
        &self.train
    }

    /// The tokens kept out of training.
    pub fn validation(&self) -> &TokenShard {
        &self.validation
    }

    /// The tokenizer that made both.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Where the data came from, and its counts.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
