//! What a file is that holds no weights, told by its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::read_error::ReadError;

/// Bytes that are looked at.
const START: u64 = 1024;
/// Bytes of the shortest number that any format begins with.
const SHORTEST: usize = 4;

/// First lines of what stands for a large file in a Git repository.
const LFS_POINTERS: [&str; 2] = [
    "version https://git-lfs.github.com/spec/",
    "version https://hawser.github.com/spec/",
];

/// First bytes of formats that are not read, with what to do.
const OTHER_FORMATS: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "a gzip archive; decompress it first"),
    (
        b"\x28\xb5\x2f\xfd",
        "a Zstandard archive; decompress it first",
    ),
    (b"BZh", "a bzip2 archive; decompress it first"),
    (b"\xfd7zXZ", "an xz archive; decompress it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (
        b"\x89HDF",
        "an HDF5 file, as Keras writes it; take the PyTorch or safetensors file of the model",
    ),
    (
        b"tjgg",
        "a GGML file from before GGUF; convert it with a newer llama.cpp",
    ),
    (
        b"fmgg",
        "a GGML file from before GGUF; convert it with a newer llama.cpp",
    ),
    (
        b"lmgg",
        "a GGML file from before GGUF; convert it with a newer llama.cpp",
    ),
];

/// The first bytes of a file that may hold weights.
///
/// # Errors
/// When it cannot be read, or the bytes show that it holds none; says what it is then.
pub(crate) fn start_of(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut start = Vec::new();
    let file = File::open(path)?;
    file.take(START).read_to_end(&mut start)?;
    if start.is_empty() {
        return Err("it is empty; was it downloaded or copied to its end?".into());
    }
    if let Some(what) = other_text(&String::from_utf8_lossy(&start)) {
        return Err(what.into());
    }
    if let Some((_, what)) = OTHER_FORMATS
        .iter()
        .find(|(magic, _)| start.starts_with(magic))
    {
        return Err(format!("it is {what}").into());
    }
    if is_text(&start) {
        let text = String::from_utf8_lossy(&start);
        let shown: String = text.trim().chars().take(20).collect();
        return Err(format!(
            "it is text that begins with `{}`, and no checkpoint, safetensors, burnpack or GGUF file",
            shown.escape_debug()
        )
        .into());
    }
    if start.len() < SHORTEST {
        return Err(format!(
            "it has {} bytes, too few for weights; was it downloaded or copied to its end?",
            start.len()
        )
        .into());
    }
    Ok(start)
}

/// What a text is, if it is one that stands where another file is expected.
pub fn other_text(text: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if LFS_POINTERS.iter().any(|start| text.starts_with(start)) {
        let size = text.lines().find_map(|line| line.strip_prefix("size "));
        let size = size.map_or(String::new(), |size| format!(" of {} bytes", size.trim()));
        return Some(format!(
            "it is a Git LFS pointer, which stands for a file{size}; fetch that with `git lfs pull`, or download it again"
        ));
    }
    let start: String = text.chars().take(14).collect();
    let start = start.to_ascii_lowercase();
    let is_page = ["<!doctype html", "<html", "<head", "<?xml", "<!--"];
    is_page.iter().any(|tag| start.starts_with(tag)).then(|| {
        "it is a web page, such as a login or an error page; open it to see what was answered, and download it again"
            .into()
    })
}

/// The longest start of some bytes that is text: the last character may be cut.
fn text_of(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// Whether bytes are text. No format with weights begins so: each has a byte that is no character, or a length, whose
/// high bytes are 0.
fn is_text(bytes: &[u8]) -> bool {
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}');
    let magic: [&[u8]; 2] = [b"GGUF", b"NRUB"];
    std::str::from_utf8(text_of(bytes)).is_ok_and(|text| !text.chars().any(is_control))
        && !magic.iter().any(|magic| bytes.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(bytes: &[u8]) -> Result<Vec<u8>, ReadError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        start_of(file.path())
    }

    #[test]
    fn what_holds_no_weights_is_named() {
        let pointer =
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 548105171\n";
        for (bytes, wanted) in [
            (&b""[..], "it is empty"),
            (
                pointer,
                "a Git LFS pointer, which stands for a file of 548105171 bytes",
            ),
            (b"\n  <!DOCTYPE HTML><html lang=\"en\">", "it is a web page"),
            (b"\xef\xbb\xbf<html>", "it is a web page"),
            (
                b"<?xml version=\"1.0\"?><Error><Code>AccessDenied",
                "it is a web page",
            ),
            (
                b"{\"error\": \"no such file\"}",
                "it is text that begins with `{\\\"error\\\": \\\"no such f`",
            ),
            (
                "ü".repeat(1000).as_bytes(),
                "it is text that begins with `üü",
            ),
            (
                b"\x1f\x8b\x08\0\0\0",
                "it is a gzip archive; decompress it first",
            ),
            (b"tjgg\x03\0\0\0", "it is a GGML file from before GGUF"),
            (b"\x01\0\0", "it has 3 bytes, too few for weights"),
        ] {
            let error = start(bytes).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(start_of(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn starts_of_weights_pass() {
        // The length of a safetensors header, 123, is the letter `{` and zeros.
        for bytes in [
            &b"{\0\0\0\0\0\0\0{\"a\": "[..],
            b"GGUF\x03\0\0\0",
            b"PK\x03\x04",
            b"NRUB\x01",
            b"\x80\x02\x8a\x0a",
        ] {
            assert_eq!(start(bytes).unwrap(), bytes);
        }
    }
}
