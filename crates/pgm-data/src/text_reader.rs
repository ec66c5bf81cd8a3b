use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::DataError;
use crate::text_format::Compression;
use crate::zstd_reader::ZstdReader;

/// Bytes that are read from a file at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// The text of one file, decompressed and checked piece by piece.
pub(crate) struct TextReader {
    source: Box<dyn BufRead + Send>,
    path: PathBuf,
    is_compressed: bool,
    n_bytes: u64,
}

impl TextReader {
    /// Opens the file `path`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(path: &Path, compression: Option<Compression>) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io("read", path))?;
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        fn buffered(source: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, source))
        }
        Ok(Self {
            source: match compression {
                None => Box::new(file),
                Some(Compression::Gzip) => buffered(MultiGzDecoder::new(file)),
                Some(Compression::Zstd) => buffered(ZstdReader::new(file)),
            },
            path: path.to_path_buf(),
            is_compressed: compression.is_some(),
            n_bytes: 0,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The text up to the next `ending`, which is included, or up to the end of the file; nothing behind that.
    ///
    /// A byte order mark at the start of the file is left out.
    ///
    /// # Errors
    /// When the file cannot be read, is a damaged archive or is not UTF-8.
    pub(crate) fn read_until(&mut self, ending: &str) -> Result<Option<String>, DataError> {
        let ending = ending.as_bytes();
        let last = *ending.last().expect("an ending has at least one byte");
        let mut bytes = Vec::new();
        loop {
            let n_read = self
                .source
                .read_until(last, &mut bytes)
                .map_err(|error| self.failed(error))?;
            if n_read == 0 || bytes.ends_with(ending) {
                break;
            }
        }
        self.text_of(bytes)
    }

    /// The text up to the end of the file; nothing where there is none.
    ///
    /// # Errors
    /// As [`Self::read_until`].
    pub(crate) fn read_to_end(&mut self) -> Result<Option<String>, DataError> {
        let mut bytes = Vec::new();
        self.source
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed(error))?;
        self.text_of(bytes)
    }

    fn text_of(&mut self, bytes: Vec<u8>) -> Result<Option<String>, DataError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let start = self.n_bytes;
        self.n_bytes += bytes.len() as u64;
        let mut text = String::from_utf8(bytes).map_err(|error| DataError::InvalidUtf8 {
            path: self.path.clone(),
            byte_offset: start + error.utf8_error().valid_up_to() as u64,
        })?;
        if start == 0 && text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(Some(text))
    }

    fn failed(&self, error: io::Error) -> DataError {
        // Errors of decoders carry no number of the operating system.
        if self.is_compressed && error.raw_os_error().is_none() {
            DataError::DamagedArchive {
                path: self.path.clone(),
                reason: reason(&error),
            }
        } else {
            DataError::io("read", &self.path)(error)
        }
    }
}

/// What a decoder says, in words where the file ends too early.
fn reason(error: &io::Error) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(found) = cause {
        let io_error = found.downcast_ref::<io::Error>();
        if io_error.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return "it ends too early".to_owned();
        }
        // The source of an `io::Error` around another error is the source of that one: it would be passed over.
        cause = match io_error.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => found.source(),
        };
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], compression: Option<Compression>) -> Result<Vec<String>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut reader = TextReader::open(&path, compression)?;
        let mut pieces = Vec::new();
        while let Some(piece) = reader.read_until("--")? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[test]
    fn pieces_end_where_the_ending_does() {
        let pieces = read("\u{feff}a-b---c--ü".as_bytes(), None).unwrap();
        assert_eq!(pieces, ["a-b--", "-c--", "ü"]);
        assert!(read(b"", None).unwrap().is_empty());
    }

    #[test]
    fn the_first_byte_that_is_not_utf8_is_named_across_pieces() {
        for (bytes, wanted) in [
            (b"ab--c\xff".as_slice(), 5),
            (b"\xef\xbb\xbfab--\xe2\x82--", 7),
        ] {
            let error = read(bytes, None).unwrap_err();
            assert!(
                matches!(error, DataError::InvalidUtf8 { byte_offset, .. } if byte_offset == wanted),
                "{error}"
            );
            let packed = read(&gzip(bytes), Some(Compression::Gzip)).unwrap_err();
            assert!(
                matches!(packed, DataError::InvalidUtf8 { byte_offset, .. } if byte_offset == wanted),
                "{packed}"
            );
        }
    }

    #[test]
    fn members_of_a_gzip_file_are_joined_and_damage_is_noticed() {
        let file = [gzip(b"one--"), gzip(b"two")].concat();
        let read = |bytes: &[u8]| read(bytes, Some(Compression::Gzip));
        assert_eq!(read(&file).unwrap(), ["one--", "two"]);
        let first = gzip(b"one--").len();
        for n_bytes in (0..file.len()).filter(|&n_bytes| n_bytes != first) {
            let error = read(&file[..n_bytes]).unwrap_err();
            assert!(matches!(error, DataError::DamagedArchive { .. }), "{error}");
        }
        for index in 0..file.len() {
            let mut changed = file.clone();
            changed[index] ^= 1;
            // Times and flags of the header do not matter.
            if let Ok(text) = read(&changed) {
                assert_eq!(text, ["one--", "two"], "{index}");
            }
        }
    }
}
