use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::read_error::ReadError;

/// The largest tail of a file in which its directory's end is looked for: the record and the longest
/// comment.
const MAX_TAIL: u64 = 22 + 0xffff;
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
/// Fields that say "see the 64-bit record".
const SEE_64: u64 = 0xffff_ffff;

/// A ZIP archive of uncompressed entries, as `torch.save` writes it.
#[derive(Debug)]
pub(super) struct ZipArchive {
    file: File,
    entries: HashMap<String, Entry>,
}

/// A file in the archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    header: u64,
    is_compressed: bool,
    /// Bytes.
    pub size: u64,
}

impl ZipArchive {
    /// Reads the directory of an archive.
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path)?;
        let (start, size) = find_directory(&file)?;
        let directory = read_at(&file, start, size)?;
        Ok(Self {
            entries: parse_directory(&directory)?,
            file,
        })
    }

    /// The entry with a name.
    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        self.entries.get(name).copied()
    }

    /// The entry `{folder}/{name}` or `{name}`, with what stands before `name`.
    pub(super) fn find_suffix(&self, name: &str) -> Option<(String, Entry)> {
        let mut found: Vec<(&str, Entry)> = self
            .entries
            .iter()
            .filter_map(|(path, &entry)| Some((path.strip_suffix(name)?, entry)))
            .filter(|(folder, _)| folder.is_empty() || folder.ends_with('/'))
            .collect();
        found.sort_by_key(|(folder, _)| folder.len());
        let (folder, entry) = *found.first()?;
        Some((folder.to_owned(), entry))
    }

    /// Where the bytes of an entry start in the file.
    pub(super) fn data_start(&self, entry: Entry) -> Result<u64, ReadError> {
        if entry.is_compressed {
            return Err("it is compressed, which `torch.save` never does; save it again".into());
        }
        let header = read_at(&self.file, entry.header, 30)?;
        if header[..4] != LOCAL_HEADER {
            return Err(damaged("an entry is not where the directory says"));
        }
        let (name, extra) = (number(&header, 26, 2)?, number(&header, 28, 2)?);
        Ok(entry.header + 30 + name + extra)
    }

    /// The bytes of an entry.
    pub(super) fn read(&self, entry: Entry) -> Result<Vec<u8>, ReadError> {
        read_at(&self.file, self.data_start(entry)?, entry.size)
    }
}

/// Offset and size of the directory.
fn find_directory(file: &File) -> Result<(u64, u64), ReadError> {
    let length = file.metadata()?.len();
    let tail_start = length.saturating_sub(MAX_TAIL);
    let tail = read_at(file, tail_start, length - tail_start)?;
    let end = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|&i| tail[i..i + 4] == END)
        .ok_or_else(|| damaged("it has no directory; was it copied to its end?"))?;
    let (size, start) = (number(&tail, end + 12, 4)?, number(&tail, end + 16, 4)?);
    let has_locator = end >= 20 && tail[end - 20..end - 16] == LOCATOR_64;
    if !has_locator || (size != SEE_64 && start != SEE_64) {
        return Ok((start, size));
    }
    let record = read_at(file, number(&tail, end - 12, 8)?, 56)?;
    if record[..4] != END_64 {
        return Err(damaged("its 64-bit directory is missing"));
    }
    Ok((number(&record, 48, 8)?, number(&record, 40, 8)?))
}

fn parse_directory(bytes: &[u8]) -> Result<HashMap<String, Entry>, ReadError> {
    let mut entries = HashMap::new();
    let mut at = 0;
    while bytes.len() - at >= 46 && bytes[at..at + 4] == DIRECTORY_ENTRY {
        let [name, extra, comment] = [28, 30, 32].map(|i| number(bytes, at + i, 2));
        let (name, extra) = (name? as usize, extra? as usize);
        let next = at + 46 + name + extra + comment? as usize;
        if next > bytes.len() {
            return Err(damaged("its directory is cut off"));
        }
        let extra = &bytes[at + 46 + name..at + 46 + name + extra];
        let name = String::from_utf8_lossy(&bytes[at + 46..at + 46 + name]).into_owned();
        let mut wide = WideFields::find(extra);
        let size = wide.or(number(bytes, at + 24, 4)?)?;
        let compressed_size = wide.or(number(bytes, at + 20, 4)?)?;
        let entry = Entry {
            size,
            header: wide.or(number(bytes, at + 42, 4)?)?,
            is_compressed: number(bytes, at + 10, 2)? != 0 || size != compressed_size,
        };
        entries.insert(name, entry);
        at = next;
    }
    Ok(entries)
}

/// The 64-bit numbers of an entry, in the order of the fields that they stand for.
struct WideFields<'a>(&'a [u8]);

impl<'a> WideFields<'a> {
    fn find(mut extra: &'a [u8]) -> Self {
        while let [a, b, c, d, rest @ ..] = extra {
            let length = u16::from_le_bytes([*c, *d]) as usize;
            let (field, rest) = rest.split_at(length.min(rest.len()));
            if u16::from_le_bytes([*a, *b]) == 1 {
                return Self(field);
            }
            extra = rest;
        }
        Self(&[])
    }

    fn or(&mut self, narrow: u64) -> Result<u64, ReadError> {
        if narrow != SEE_64 {
            return Ok(narrow);
        }
        let value = number(self.0, 0, 8)?;
        self.0 = &self.0[8..];
        Ok(value)
    }
}

/// The little-endian number of `n` bytes at `at`.
fn number(bytes: &[u8], at: usize, n: usize) -> Result<u64, ReadError> {
    let bytes = bytes
        .get(at..at + n)
        .ok_or_else(|| damaged("its directory is cut off"))?;
    Ok(bytes.iter().rev().fold(0, |sum, &b| sum << 8 | b as u64))
}

fn read_at(mut file: &File, start: u64, length: u64) -> Result<Vec<u8>, ReadError> {
    let total = file.metadata()?.len();
    if start.checked_add(length).is_none_or(|end| end > total) {
        return Err(damaged("it is shorter than its directory says"));
    }
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.read_exact(&mut bytes))?;
    Ok(bytes)
}

fn damaged(what: &str) -> ReadError {
    format!("the archive is damaged: {what}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_fields_stand_in_for_full_ones_in_order() {
        // Another field first, then two 64-bit numbers.
        let mut extra = vec![9, 0, 1, 0, 7, 1, 0, 16, 0];
        extra.extend(5_000_000_000u64.to_le_bytes());
        extra.extend(6_000_000_000u64.to_le_bytes());
        let mut wide = WideFields::find(&extra);
        assert_eq!(wide.or(SEE_64).unwrap(), 5_000_000_000);
        assert_eq!(wide.or(12).unwrap(), 12);
        assert_eq!(wide.or(SEE_64).unwrap(), 6_000_000_000);
        assert!(wide.or(SEE_64).is_err());
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pt");
        for bytes in [&b"PK\x03\x04"[..], b"", &[0; 100]] {
            std::fs::write(&path, bytes).unwrap();
            let error = ZipArchive::open(&path).unwrap_err().to_string();
            assert!(error.contains("no directory"), "{error}");
        }
        // A directory that is said to lie behind the end of the file.
        let mut bytes = END.to_vec();
        bytes.extend([0; 8]);
        bytes.extend(100u32.to_le_bytes());
        bytes.extend([0; 6]);
        std::fs::write(&path, bytes).unwrap();
        let error = ZipArchive::open(&path).unwrap_err().to_string();
        assert!(error.contains("shorter"), "{error}");
    }
}
