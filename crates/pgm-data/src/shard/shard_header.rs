use std::path::Path;

use sha2::{Digest, Sha256};

use crate::DataError;
use crate::files::to_hex;

/// What stands in front of a shard's tokens.
///
/// # Layout
/// Little-endian, [`ShardHeader::N_BYTES`] bytes, zero where nothing is listed.
///
/// | offset | size | content |
/// | --- | --- | --- |
/// | 0 | 8 | `PGMSHARD` |
/// | 8 | 4 | format version |
/// | 12 | 4 | bytes a token, 2 or 4 |
/// | 16 | 4 | vocabulary size |
/// | 24 | 8 | tokens |
/// | 32 | 8 | documents |
/// | 40 | 32 | the tokenizer's fingerprint |
/// | 72 | 32 | SHA-256 of everything behind the header, then of the header with zeros here |
///
/// Behind it: the tokens, then for each document the position behind its last token (8 bytes each).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardHeader {
    pub(crate) vocab_size: u32,
    pub(crate) n_tokens: u64,
    pub(crate) n_documents: u64,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) checksum: [u8; 32],
}

const MAGIC: &[u8; 8] = b"PGMSHARD";

impl ShardHeader {
    pub(crate) const N_BYTES: usize = 128;
    pub(crate) const VERSION: u32 = 1;

    /// Bytes a token: 2 where every id fits.
    pub(crate) fn token_bytes(&self) -> usize {
        token_bytes(self.vocab_size)
    }

    /// The length of the whole file, in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        let tokens = self.n_tokens.saturating_mul(self.token_bytes() as u64);
        let ends = self.n_documents.saturating_mul(8);
        (Self::N_BYTES as u64)
            .saturating_add(tokens)
            .saturating_add(ends)
    }

    /// Completes the checksum of the payload, whose bytes `payload` has seen, with the header's fields.
    pub(crate) fn checksum_after(&self, mut payload: Sha256) -> [u8; 32] {
        let unsigned = Self {
            checksum: [0; 32],
            ..self.clone()
        };
        payload.update(unsigned.to_bytes());
        payload.finalize().into()
    }

    pub(crate) fn to_bytes(&self) -> [u8; Self::N_BYTES] {
        let mut bytes = [0; Self::N_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&Self::VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.token_bytes() as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&self.vocab_size.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.n_tokens.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.n_documents.to_le_bytes());
        bytes[40..72].copy_from_slice(&self.fingerprint);
        bytes[72..104].copy_from_slice(&self.checksum);
        bytes
    }

    /// Reads the header of the shard `path` and holds it against all `bytes` of the file.
    pub(crate) fn of_file(bytes: &[u8], path: &Path) -> Result<Self, DataError> {
        let n_magic = bytes.len().min(MAGIC.len());
        if bytes.is_empty() || bytes[..n_magic] != MAGIC[..n_magic] {
            return Err(DataError::NotAShard {
                path: path.to_path_buf(),
            });
        }
        let truncated = |wanted| DataError::TruncatedShard {
            path: path.to_path_buf(),
            got: bytes.len() as u64,
            wanted,
        };
        let Some((head, payload)) = bytes.split_first_chunk::<{ Self::N_BYTES }>() else {
            return Err(truncated(Self::N_BYTES as u64));
        };
        let version = read_u32(head, 8);
        if version != Self::VERSION {
            return Err(DataError::ShardVersion {
                path: path.to_path_buf(),
                got: version,
                wanted: Self::VERSION,
            });
        }
        let header = Self {
            vocab_size: read_u32(head, 16),
            n_tokens: read_u64(head, 24),
            n_documents: read_u64(head, 32),
            fingerprint: std::array::from_fn(|index| head[40 + index]),
            checksum: std::array::from_fn(|index| head[72 + index]),
        };
        if header.file_bytes() != bytes.len() as u64 {
            return Err(truncated(header.file_bytes()));
        }
        let checksum = header.checksum_after(Sha256::new_with_prefix(payload));
        if checksum != header.checksum || *head != header.to_bytes() {
            return Err(DataError::ShardChecksum {
                path: path.to_path_buf(),
                got: to_hex(&checksum),
                wanted: to_hex(&header.checksum),
            });
        }
        Ok(header)
    }
}

/// Bytes a token in a shard of `vocab_size` ids.
pub(crate) fn token_bytes(vocab_size: u32) -> usize {
    if vocab_size <= 1 << 16 { 2 } else { 4 }
}

/// The little-endian number at `offset`; panics where the bytes end before it.
pub(crate) fn read_u64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[offset + index]))
}

fn read_u32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[offset + index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_two_bytes_up_to_65536_of_them() {
        assert_eq!(
            (token_bytes(50257), token_bytes(65536), token_bytes(65537)),
            (2, 2, 4)
        );
    }

    #[test]
    fn absurd_counts_are_a_wrong_length() {
        let header = ShardHeader {
            vocab_size: 300,
            n_tokens: u64::MAX,
            n_documents: u64::MAX,
            fingerprint: [1; 32],
            checksum: [2; 32],
        };
        let error = ShardHeader::of_file(&header.to_bytes(), Path::new("a.tok")).unwrap_err();
        assert!(matches!(error, DataError::TruncatedShard { got: 128, .. }));
    }
}
