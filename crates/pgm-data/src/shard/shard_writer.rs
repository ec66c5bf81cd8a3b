use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::shard_header::ShardHeader;
use crate::files::{AtomicFile, from_hex};
use crate::{DataError, TokenShard};

/// Writes a [`TokenShard`] document by document.
///
/// The file appears under its name when [`finish`](Self::finish) succeeds; a writer that is dropped before
/// leaves nothing. Memory holds 8 bytes a document.
#[derive(Debug)]
pub struct ShardWriter {
    file: AtomicFile,
    header: ShardHeader,
    document_ends: Vec<u64>,
    payload: Sha256,
    buffer: Vec<u8>,
}

impl ShardWriter {
    /// Begins a shard of ids below `vocab_size`, made by the tokenizer with this fingerprint.
    ///
    /// # Errors
    /// When the file cannot be created (its folder must exist) or the fingerprint is not 64 hexadecimal digits.
    pub fn create(
        path: impl AsRef<Path>,
        vocab_size: u32,
        tokenizer_fingerprint: &str,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        let fingerprint =
            from_hex(tokenizer_fingerprint).ok_or_else(|| DataError::InvalidFingerprint {
                got: tokenizer_fingerprint.to_owned(),
            })?;
        let mut file = AtomicFile::create(path)?;
        file.write_all(&[0; ShardHeader::N_BYTES])
            .map_err(DataError::io("write", path))?;
        Ok(Self {
            file,
            header: ShardHeader {
                vocab_size,
                n_tokens: 0,
                n_documents: 0,
                fingerprint,
                checksum: [0; 32],
            },
            document_ends: Vec::new(),
            payload: Sha256::new(),
            buffer: Vec::new(),
        })
    }

    /// Adds one document; an empty one counts too.
    ///
    /// # Errors
    /// When a token is outside of the vocabulary (nothing of the document is written then) or the disk is full.
    pub fn push_document(&mut self, tokens: &[u32]) -> Result<(), DataError> {
        let vocab_size = self.header.vocab_size;
        if let Some(&token) = tokens.iter().find(|&&token| token >= vocab_size) {
            return Err(DataError::TokenOutOfRange {
                path: self.file.path().to_path_buf(),
                token,
                vocab_size,
            });
        }
        let token_bytes = self.header.token_bytes();
        self.buffer.clear();
        for token in tokens {
            self.buffer
                .extend_from_slice(&token.to_le_bytes()[..token_bytes]);
        }
        self.write_payload()?;
        self.header.n_tokens += tokens.len() as u64;
        self.header.n_documents += 1;
        self.document_ends.push(self.header.n_tokens);
        Ok(())
    }

    /// Tokens written so far.
    pub fn n_tokens(&self) -> u64 {
        self.header.n_tokens
    }

    /// Documents written so far.
    pub fn n_documents(&self) -> u64 {
        self.header.n_documents
    }

    /// Completes the file, gives it its name and opens it.
    ///
    /// # Errors
    /// When the disk is full or the file cannot be renamed; nothing half-written is left.
    pub fn finish(mut self) -> Result<TokenShard, DataError> {
        self.buffer.clear();
        for end in &self.document_ends {
            self.buffer.extend_from_slice(&end.to_le_bytes());
        }
        self.write_payload()?;
        self.header.checksum = self.header.checksum_after(self.payload);
        let path = self.file.path().to_path_buf();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.write_all(&self.header.to_bytes()))
            .map_err(DataError::io("write", &path))?;
        self.file.commit()?;
        TokenShard::open(path)
    }

    fn write_payload(&mut self) -> Result<(), DataError> {
        self.payload.update(&self.buffer);
        self.file
            .write_all(&self.buffer)
            .map_err(DataError::io("write", self.file.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_tokens_and_fingerprints_are_refused_and_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tok");
        let mut writer = ShardWriter::create(&path, 10, &"0".repeat(64)).unwrap();
        let error = writer.push_document(&[1, 10]).unwrap_err();
        assert!(matches!(
            error,
            DataError::TokenOutOfRange {
                token: 10,
                vocab_size: 10,
                ..
            }
        ));
        assert_eq!((writer.n_tokens(), writer.n_documents()), (0, 0));
        drop(writer);
        let error = ShardWriter::create(&path, 10, "gpt2").unwrap_err();
        assert!(matches!(error, DataError::InvalidFingerprint { .. }));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
