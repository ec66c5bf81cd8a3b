use std::fmt;

/// What a file holds in place of the text that was asked for, told by its first bytes.
///
/// Its text form names the content and the way out, to stand behind `it is`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileContent {
    /// A pointer of Git LFS: the repository was cloned without its large files.
    GitLfsPointer,
    /// HTML or XML, mostly the page of an error or the page around a file.
    WebPage,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// ZIP, and what is made of it: Office documents, NumPy's `.npz`, PyTorch's checkpoints.
    Zip,
    /// tar.
    Tar,
    /// PDF.
    Pdf,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow.
    Arrow,
    /// GGUF.
    Gguf,
    /// UTF-16, with or without a byte order mark.
    Utf16,
    /// UTF-32 with a byte order mark.
    Utf32,
    /// Bytes that are no text in any encoding.
    Binary,
}

/// First bytes that only one kind of file has.
const MAGIC: [(&[u8], FileContent); 17] = [
    (
        b"version https://git-lfs.github.com/spec/",
        FileContent::GitLfsPointer,
    ),
    (b"\x1f\x8b", FileContent::Gzip),
    (b"\x28\xb5\x2f\xfd", FileContent::Zstd),
    (b"\xfd7zXZ\0", FileContent::Xz),
    (b"PK\x03\x04", FileContent::Zip),
    (b"PK\x05\x06", FileContent::Zip),
    (b"%PDF-", FileContent::Pdf),
    (b"PAR1\x15", FileContent::Parquet),
    (b"ARROW1\0\0", FileContent::Arrow),
    (b"GGUF\x02\0\0\0", FileContent::Gguf),
    (b"GGUF\x03\0\0\0", FileContent::Gguf),
    // Before UTF-16, whose mark begins as this one.
    (b"\xff\xfe\0\0", FileContent::Utf32),
    (b"\0\0\xfe\xff", FileContent::Utf32),
    (b"\xff\xfe", FileContent::Utf16),
    (b"\xfe\xff", FileContent::Utf16),
    (b"\x93NUMPY", FileContent::Binary),
    (b"\x80\x02", FileContent::Binary),
];

impl FileContent {
    /// What a file with these first bytes is, where it is no UTF-8 text. Some hundred bytes will do.
    pub fn detect(beginning: &[u8]) -> Option<Self> {
        let magic = MAGIC.iter().find(|(bytes, _)| beginning.starts_with(bytes));
        if let Some((_, content)) = magic {
            return Some(*content);
        }
        let is_bzip2 = beginning.starts_with(b"BZh") && beginning.get(4..10) == Some(b"1AY&SY");
        if is_bzip2 {
            return Some(Self::Bzip2);
        }
        if beginning.get(257..262) == Some(b"ustar") {
            return Some(Self::Tar);
        }
        without_mark(beginning)
    }

    /// The same where JSON is wanted, which no web page is.
    pub fn detect_in_json(beginning: &[u8]) -> Option<Self> {
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
        let is_markup = text.trim_ascii_start().starts_with(b"<");
        Self::detect(beginning).or(is_markup.then_some(Self::WebPage))
    }

    /// Whether a text begins as an HTML page does.
    pub fn is_web_page(beginning: &[u8]) -> bool {
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
        let text = text.trim_ascii_start();
        [b"<!doctype html".as_slice(), b"<html"].iter().any(|tag| {
            text.get(..tag.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(tag))
        })
    }
}

/// UTF-16 without its mark and binary data, both by their zero bytes: text in UTF-8 has none, or a stray one.
fn without_mark(beginning: &[u8]) -> Option<FileContent> {
    let beginning = &beginning[..beginning.len().min(1 << 12)];
    let zeros = |odd: usize| {
        let bytes = beginning.iter().skip(odd).step_by(2);
        bytes.filter(|byte| **byte == 0).count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    let n_pairs = beginning.len() / 2;
    if 4 * (even + odd) <= beginning.len() || n_pairs == 0 {
        return None;
    }
    // Western text in UTF-16 has a zero in nearly each pair, always on the same side.
    let is_wide = (even == 0 || odd == 0) && 4 * even.max(odd) > 3 * n_pairs;
    Some(if is_wide {
        FileContent::Utf16
    } else {
        FileContent::Binary
    })
}

impl fmt::Display for FileContent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::GitLfsPointer => {
                "a Git LFS pointer, not the file that it stands for; get that with `git lfs pull`, or download it"
            }
            Self::WebPage => {
                "a web page (HTML or XML), not the file that was to be downloaded from it; download the raw file"
            }
            Self::Gzip => {
                "compressed with gzip; decompress it, or let the name end in `.gz` where such files are read"
            }
            Self::Zstd => {
                "compressed with zstd; decompress it, or let the name end in `.zst` where such files are read"
            }
            Self::Bzip2 => "compressed with bzip2; decompress it with `bunzip2`",
            Self::Xz => "compressed with xz; decompress it with `unxz`",
            Self::Zip => "a ZIP archive; take out the file that is wanted",
            Self::Tar => "a tar archive; unpack it with `tar -xf`",
            Self::Pdf => "a PDF; extract its text, for instance with `pdftotext`",
            Self::Parquet => {
                "a Parquet table; write its texts as JSON lines, for instance with `to_json` of `datasets`"
            }
            Self::Arrow => {
                "an Arrow table; write its texts as JSON lines, for instance with `to_json` of `datasets`"
            }
            Self::Gguf => "a GGUF file with weights; give the text",
            Self::Utf16 => "UTF-16, wanted UTF-8; convert it with `iconv -f UTF-16 -t UTF-8`",
            Self::Utf32 => "UTF-32, wanted UTF-8; convert it with `iconv -f UTF-32 -t UTF-8`",
            Self::Binary => "binary data, not text; check the path",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_text_are_told_apart() {
        let utf16 =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let big: Vec<u8> = utf16("whale")
            .chunks(2)
            .flat_map(|p| [p[1], p[0]])
            .collect();
        let mut tar = vec![b'a'; 600];
        tar[257..263].copy_from_slice(b"ustar\0");
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
        for (bytes, wanted) in [
            (pointer.to_vec(), Some(FileContent::GitLfsPointer)),
            (b"\x1f\x8b\x08\0".to_vec(), Some(FileContent::Gzip)),
            (b"\x28\xb5\x2f\xfd\x04".to_vec(), Some(FileContent::Zstd)),
            (b"BZh91AY&SY\0\0".to_vec(), Some(FileContent::Bzip2)),
            (b"PK\x03\x04\x14".to_vec(), Some(FileContent::Zip)),
            (tar, Some(FileContent::Tar)),
            (b"\xff\xfea\0".to_vec(), Some(FileContent::Utf16)),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), Some(FileContent::Utf32)),
            (utf16("the whale is white"), Some(FileContent::Utf16)),
            (big, Some(FileContent::Utf16)),
            (vec![0, 0, 1, 0, 0, 7, 0, 0], Some(FileContent::Binary)),
            (b"the whale is white, \0 and one zero".to_vec(), None),
            ("\u{feff}weiß, белый, 白い".into(), None),
            (b"BZh is how it begins".to_vec(), None),
            (b"version 2".to_vec(), None),
            (b"GGUF is a format".to_vec(), None),
            (b"<!DOCTYPE html>".to_vec(), None),
            (b"".to_vec(), None),
            (b"a".to_vec(), None),
        ] {
            assert_eq!(FileContent::detect(&bytes), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn pages_are_no_json_and_are_told_from_text() {
        for page in ["<!DOCTYPE html>\n<html>", "\u{feff} \n<HTML lang=en>"] {
            assert!(FileContent::is_web_page(page.as_bytes()), "{page}");
            let content = FileContent::detect_in_json(page.as_bytes());
            assert_eq!(content, Some(FileContent::WebPage));
        }
        let xml = b"<?xml version='1.0'?><Error>AccessDenied</Error>";
        assert_eq!(FileContent::detect_in_json(xml), Some(FileContent::WebPage));
        for text in ["<|endoftext|>a", "<htm", "the <html> tag", ""] {
            assert!(!FileContent::is_web_page(text.as_bytes()), "{text}");
        }
        assert_eq!(FileContent::detect_in_json(b"{\"a\": \"<\"}"), None);
    }
}
