use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::gzip_reader::GzipReader;
use super::text_file::BYTE_ORDER_MARK;
use super::text_format::{Compression, TextFormat, TextKind};
use super::zstd_reader::ZstdReader;
use crate::{DataError, FileContent};

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
    /// Opens the file `path`, and looks at its first bytes.
    ///
    /// # Errors
    /// When the file cannot be opened, is compressed in another way than `format` has it, or holds no text.
    pub(crate) fn open(path: &Path, format: TextFormat) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io("read", path))?;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        if let Some(compression) = format.compression {
            check_compression(&mut file, compression, path)?;
        }
        fn buffered(source: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, source))
        }
        let mut reader = Self {
            source: match format.compression {
                None => Box::new(file),
                Some(Compression::Gzip) => buffered(GzipReader::new(file)),
                Some(Compression::Zstd) => {
                    buffered(ZstdReader::new(file).map_err(DataError::io("read", path))?)
                }
            },
            path: path.to_path_buf(),
            is_compressed: format.compression.is_some(),
            n_bytes: 0,
        };
        reader.check_content(format.kind)?;
        Ok(reader)
    }

    /// Refuses what is no text. A page of a text file may be meant, and is only warned of.
    fn check_content(&mut self, kind: TextKind) -> Result<(), DataError> {
        let beginning = match beginning(&mut self.source) {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.failed(error)),
        };
        let found = match kind {
            TextKind::Plain => FileContent::detect(beginning),
            TextKind::JsonLines => FileContent::detect_in_json(beginning),
        };
        if let Some(content) = found {
            return Err(DataError::NoText {
                path: self.path.clone(),
                content,
            });
        }
        if FileContent::is_web_page(beginning) {
            tracing::warn!(
                path = %self.path.display(),
                "a text file begins as a web page and is read as it is; is it the page of an error or around a file?"
            );
        }
        Ok(())
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
        if start == 0 {
            let n_mark_bytes = text.len() - text.trim_start_matches(BYTE_ORDER_MARK).len();
            text.drain(..n_mark_bytes);
        }
        Ok(Some(text))
    }

    fn failed(&self, error: io::Error) -> DataError {
        // Errors of decoders carry no number of the operating system.
        if !self.is_compressed || error.raw_os_error().is_some() {
            return DataError::io("read", &self.path)(error);
        }
        let path = self.path.clone();
        let reason = reason(&error);
        match error.kind() {
            io::ErrorKind::Unsupported => DataError::UnsupportedArchive { path, reason },
            _ => DataError::DamagedArchive { path, reason },
        }
    }
}

/// The first bytes, which stay to be read.
fn beginning(source: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    // What is there is handed out again.
    source.fill_buf()
}

/// Refuses a file that does not begin as its compression does; the decoder says what is wrong with shorter ones.
fn check_compression(
    file: &mut impl BufRead,
    compression: Compression,
    path: &Path,
) -> Result<(), DataError> {
    let beginning = beginning(file).map_err(DataError::io("read", path))?;
    let content = FileContent::detect_in_json(beginning);
    let (wanted, ending, is_right) = match compression {
        Compression::Gzip => ("gzip", "gz", content == Some(FileContent::Gzip)),
        Compression::Zstd => (
            "zstd",
            "zst",
            content == Some(FileContent::Zstd) || is_skippable_frame(beginning),
        ),
    };
    if is_right || beginning.len() < 4 {
        return Ok(());
    }
    let path = path.to_path_buf();
    Err(match content {
        Some(content) => DataError::NoText { path, content },
        None => DataError::NotCompressed {
            path,
            wanted,
            ending,
        },
    })
}

/// Whether bytes begin as a frame of zstd that holds no data, which may come first.
fn is_skippable_frame(beginning: &[u8]) -> bool {
    matches!(beginning, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
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
        let kind = TextKind::Plain;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut reader = TextReader::open(&path, TextFormat { kind, compression })?;
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
        let twice = read("\u{feff}\u{feff}a".as_bytes(), None).unwrap();
        assert_eq!(twice, ["a"]);
    }

    #[test]
    fn files_that_are_not_what_their_names_say_are_named() {
        let (gzip_ending, zstd_ending) = (Some(Compression::Gzip), Some(Compression::Zstd));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
        let packed_twice = gzip(&gzip(b"whale"));
        let cases: [(&[u8], Option<Compression>, &str); 8] = [
            (pointer, None, "is a Git LFS pointer"),
            (pointer, gzip_ending, "is a Git LFS pointer"),
            (&gzip(b"whale"), None, "is compressed with gzip"),
            (&gzip(b"whale"), zstd_ending, "is compressed with gzip"),
            (&packed_twice, gzip_ending, "is compressed with gzip"),
            (b"\xff\xfew\0", None, "is UTF-16, wanted UTF-8"),
            (b"whale", gzip_ending, "does not begin as a gzip file"),
            (b"whale", zstd_ending, "take `.zst` off the name"),
        ];
        for (bytes, compression, wanted) in cases {
            let error = read(bytes, compression).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
            assert!(
                error.starts_with('`') && error.contains("a.txt`"),
                "{error}"
            );
        }
        // Pages are text where text is wanted.
        assert_eq!(read(b"<html>", None).unwrap(), ["<html>"]);
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
        let padded = [&file[..], &[0; 1000]].concat();
        assert_eq!(read(&padded).unwrap(), ["one--", "two"]);
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
