use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::shard_header::{ShardHeader, read_u64};
use crate::DataError;
use crate::files::to_hex;

/// The tokens of many documents in one file, mapped into memory; a clone shares the mapping.
///
/// Documents lie one behind the other without anything between them; where each ends is recorded beside.
#[derive(Debug, Clone)]
pub struct TokenShard {
    path: PathBuf,
    header: ShardHeader,
    map: Arc<Mmap>,
}

impl TokenShard {
    /// Maps the shard at `path`.
    ///
    /// The whole file is read once for its checksum, about a second a gigabyte.
    ///
    /// # Errors
    /// When the file is missing, something else than a shard, of another version, cut short or damaged, or
    /// holds ids outside its vocabulary or documents that do not lie one behind the other.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(DataError::io("read", path))?;
        // SAFETY: the mapping is read-only. Shards are written under another name and renamed, and never
        // changed afterwards, so that the bytes stay what they are; every read is bounds-checked.
        let map = unsafe { Mmap::map(&file) }.map_err(DataError::io("map", path))?;
        let shard = Self {
            path: path.to_path_buf(),
            header: ShardHeader::of_file(&map, path)?,
            map: Arc::new(map),
        };
        match shard.wrong_content() {
            None => Ok(shard),
            Some(reason) => Err(DataError::ShardContent {
                path: path.to_path_buf(),
                reason,
            }),
        }
    }

    /// What the checksum cannot tell: whether the parts make sense together.
    fn wrong_content(&self) -> Option<String> {
        const CHUNK: usize = 1 << 16;
        let mut start = 0;
        for index in 0..self.n_documents() {
            let end = self.document_end(index);
            if end < start || end > self.n_tokens() {
                return Some(format!(
                    "document {index} ends at token {end}, wanted {start} to {}",
                    self.n_tokens()
                ));
            }
            start = end;
        }
        if start != self.n_tokens() {
            return Some(format!(
                "its documents end at token {start} of {}",
                self.n_tokens()
            ));
        }
        let mut tokens = Vec::with_capacity(CHUNK);
        for start in (0..self.n_tokens()).step_by(CHUNK) {
            tokens.clear();
            self.read(start..self.n_tokens().min(start + CHUNK), &mut tokens);
            let largest = tokens.iter().max()?;
            if *largest as usize >= self.vocab_size() {
                return Some(format!(
                    "it has the id {largest}, and its vocabulary has {} ids",
                    self.vocab_size()
                ));
            }
        }
        None
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of tokens.
    pub fn n_tokens(&self) -> usize {
        usize::try_from(self.header.n_tokens).expect("the tokens are mapped, so their count fits")
    }

    /// The number of documents.
    pub fn n_documents(&self) -> usize {
        usize::try_from(self.header.n_documents).expect("the ends are mapped, so their count fits")
    }

    /// The number of token ids; the largest is one less.
    pub fn vocab_size(&self) -> usize {
        self.header.vocab_size as usize
    }

    /// Bytes a token takes in the file: 2 or 4.
    pub fn token_bytes(&self) -> usize {
        self.header.token_bytes()
    }

    /// The fingerprint of the tokenizer that made the tokens.
    pub fn tokenizer_fingerprint(&self) -> String {
        to_hex(&self.header.fingerprint)
    }

    /// The SHA-256 of tokens and header, in hexadecimal digits: shards with the same one are the same.
    pub fn checksum(&self) -> String {
        to_hex(&self.header.checksum)
    }

    /// Where the tokens of document `index` are.
    ///
    /// # Panics
    /// When there is no such document.
    pub fn document_range(&self, index: usize) -> Range<usize> {
        let start = index
            .checked_sub(1)
            .map_or(0, |last| self.document_end(last));
        start..self.document_end(index)
    }

    /// The tokens of document `index`.
    ///
    /// # Panics
    /// When there is no such document.
    pub fn document(&self, index: usize) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.read(self.document_range(index), &mut tokens);
        tokens
    }

    /// Appends the tokens at `range`, regardless of documents, to `tokens`.
    ///
    /// # Panics
    /// When the range goes beyond the last token.
    pub fn read(&self, range: Range<usize>, tokens: &mut Vec<u32>) {
        let n_tokens = self.n_tokens();
        assert!(
            range.start <= range.end && range.end <= n_tokens,
            "tokens {range:?} of a shard of {n_tokens}"
        );
        let token_bytes = self.token_bytes();
        let start = ShardHeader::N_BYTES + range.start * token_bytes;
        let bytes = &self.map[start..start + range.len() * token_bytes];
        if token_bytes == 2 {
            let (pairs, _) = bytes.as_chunks::<2>();
            tokens.extend(
                pairs
                    .iter()
                    .map(|&pair| u32::from(u16::from_le_bytes(pair))),
            );
        } else {
            let (quads, _) = bytes.as_chunks::<4>();
            tokens.extend(quads.iter().map(|&quad| u32::from_le_bytes(quad)));
        }
    }

    /// The position behind the last token of document `index`.
    pub(crate) fn document_end(&self, index: usize) -> usize {
        let n_documents = self.n_documents();
        assert!(index < n_documents, "document {index} of {n_documents}");
        let ends = ShardHeader::N_BYTES + self.n_tokens() * self.token_bytes();
        // A position too large for this machine is behind every token.
        usize::try_from(read_u64(&self.map, ends + index * 8)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardWriter;
    use proptest::prelude::*;

    fn write(path: &Path, vocab_size: u32, documents: &[Vec<u32>]) -> TokenShard {
        let mut writer = ShardWriter::create(path, vocab_size, &"ab".repeat(32)).unwrap();
        for document in documents {
            writer.push_document(document).unwrap();
        }
        writer.finish().unwrap()
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(
            vocab_size in prop_oneof![Just(300_u32), Just(65536), Just(65537), Just(u32::MAX)],
            raw in proptest::collection::vec(proptest::collection::vec(any::<u32>(), 0..20), 0..8),
        ) {
            let documents: Vec<Vec<u32>> = raw
                .iter()
                .map(|document| document.iter().map(|token| token % vocab_size).collect())
                .collect();
            let folder = tempfile::tempdir().unwrap();
            let shard = write(&folder.path().join("a.tok"), vocab_size, &documents);
            prop_assert_eq!(shard.n_documents(), documents.len());
            prop_assert_eq!(shard.vocab_size(), vocab_size as usize);
            prop_assert_eq!(shard.tokenizer_fingerprint(), "ab".repeat(32));
            let read: Vec<_> = (0..documents.len()).map(|index| shard.document(index)).collect();
            prop_assert_eq!(read, documents.clone());
            let mut all = Vec::new();
            shard.read(0..shard.n_tokens(), &mut all);
            prop_assert_eq!(all, documents.concat());
        }
    }

    #[test]
    fn shards_with_a_right_checksum_and_wrong_content_are_refused() {
        use crate::shard::shard_header::ShardHeader;
        use sha2::{Digest, Sha256};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tok");
        write(&path, 300, &[vec![1, 2, 3], vec![4]]);
        let good = std::fs::read(&path).unwrap();
        // Tokens at 128, 130, 132, 134; ends of the documents (3 and 4) at 136 and 144.
        for (at, value, complaint) in [
            (128, 300_u16, "the id 300"),
            (136, 5, "document 0 ends at token 5"),
            (144, 2, "document 1 ends at token 2"),
            (144, 3, "end at token 3 of 4"),
            (150, 1 << 15, "document 1 ends at token"),
        ] {
            let mut bytes = good.clone();
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
            let header = ShardHeader::of_file(&good, &path).unwrap();
            let payload = Sha256::new_with_prefix(&bytes[ShardHeader::N_BYTES..]);
            let checksum = header.checksum_after(payload);
            let header = ShardHeader { checksum, ..header };
            bytes[..ShardHeader::N_BYTES].copy_from_slice(&header.to_bytes());
            let copy = folder.path().join("copy.tok");
            std::fs::write(&copy, &bytes).unwrap();
            let error = TokenShard::open(&copy).unwrap_err();
            assert!(matches!(error, DataError::ShardContent { .. }), "{error}");
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }

    #[test]
    fn damaged_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tok");
        write(&path, 300, &[vec![1, 2, 3], vec![4]]);
        let good = std::fs::read(&path).unwrap();
        let open = |bytes: &[u8]| {
            let copy = folder.path().join("copy.tok");
            std::fs::write(&copy, bytes).unwrap();
            TokenShard::open(&copy).map(|shard| shard.n_tokens())
        };
        let changed = |index: usize| {
            let mut bytes = good.clone();
            bytes[index] ^= 1;
            bytes
        };
        assert_eq!(open(&good).unwrap(), 4);
        assert!(matches!(open(b""), Err(DataError::NotAShard { .. })));
        assert!(matches!(
            open(b"plain text"),
            Err(DataError::NotAShard { .. })
        ));
        assert!(matches!(
            open(&changed(8)),
            Err(DataError::ShardVersion {
                got: 0,
                wanted: 1,
                ..
            })
        ));
        for n_bytes in [4, 100, 128, good.len() - 1] {
            let cut = open(&good[..n_bytes]);
            assert!(
                matches!(cut, Err(DataError::TruncatedShard { .. })),
                "{n_bytes}"
            );
        }
        let longer = [good.as_slice(), b"x"].concat();
        assert!(matches!(
            open(&longer),
            Err(DataError::TruncatedShard { .. })
        ));
        // Bytes a token, vocabulary size, fingerprint, checksum, zeros, a token, the last document's end.
        for index in [12, 16, 40, 72, 120, 128, good.len() - 8] {
            let damaged = open(&changed(index));
            assert!(
                matches!(damaged, Err(DataError::ShardChecksum { .. })),
                "{index}"
            );
        }
        let missing = TokenShard::open(folder.path().join("absent.tok"));
        assert!(matches!(missing, Err(DataError::MissingPath { .. })));
    }
}
