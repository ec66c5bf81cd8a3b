//! Files that grow by lines, and whose last one a killed process may have left half-written.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::DataError;

/// Bytes up to and with the last end of a line.
pub fn n_bytes_of_whole_lines(content: &[u8]) -> usize {
    let end = content.iter().rposition(|&byte| byte == b'\n');
    end.map_or(0, |newline| newline + 1)
}

/// Appends a line to a small file, or makes one of it; a half-written line at its end is cut off first.
///
/// # Errors
/// When the file cannot be read or written.
pub fn append_line(path: &Path, line: &str) -> Result<(), DataError> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(DataError::io("read", path)(error)),
    };
    let end = n_bytes_of_whole_lines(&content);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(DataError::io("write", path))?;
    if end < content.len() {
        tracing::warn!(path = %path.display(), n_bytes = content.len() - end, "the last line was not written to its end and is cut off");
        file.set_len(end as u64)
            .map_err(DataError::io("write", path))?;
    }
    file.write_all(format!("{line}\n").as_bytes())
        .map_err(DataError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_line_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        append_line(&path, "one").unwrap();
        append_line(&path, "two").unwrap();
        std::fs::write(&path, b"one\ntwo\n\xffthr").unwrap();
        append_line(&path, "three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
    }
}
