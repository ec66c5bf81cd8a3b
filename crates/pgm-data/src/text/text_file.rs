use std::path::Path;

use super::file_content::FileContent;
use crate::DataError;

/// What Windows writes at the start of a text in UTF-8; no part of the text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The text of a whole file, without the byte order mark that Windows puts in front.
///
/// # Errors
/// When the file cannot be read, is not UTF-8, or holds something that is no text: see [`FileContent`].
pub fn read_text(path: impl AsRef<Path>) -> Result<String, DataError> {
    read(path.as_ref(), FileContent::detect)
}

/// The text of a whole file that is to be JSON: as [`read_text`], and a web page is named as one.
///
/// # Errors
/// As [`read_text`].
pub fn read_json_text(path: impl AsRef<Path>) -> Result<String, DataError> {
    read(path.as_ref(), FileContent::detect_in_json)
}

fn read(
    path: &Path,
    content_of: impl Fn(&[u8]) -> Option<FileContent>,
) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
    if let Some(content) = content_of(&bytes) {
        return Err(DataError::NoText {
            path: path.to_path_buf(),
            content,
        });
    }
    let mut text = String::from_utf8(bytes).map_err(|error| DataError::InvalidUtf8 {
        path: path.to_path_buf(),
        byte_offset: error.utf8_error().valid_up_to() as u64,
    })?;
    let n_mark_bytes = text.len() - text.trim_start_matches(BYTE_ORDER_MARK).len();
    text.drain(..n_mark_bytes);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_marks_are_no_text_and_other_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let write = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
        write("\u{feff}{\"a\": \"\u{feff}\"}".as_bytes());
        assert_eq!(read_text(&path).unwrap(), "{\"a\": \"\u{feff}\"}");
        assert_eq!(read_json_text(&path).unwrap(), "{\"a\": \"\u{feff}\"}");
        write(b"");
        assert_eq!(read_text(&path).unwrap(), "");

        write(b"<html>404</html>");
        assert_eq!(read_text(&path).unwrap(), "<html>404</html>");
        let error = read_json_text(&path).unwrap_err().to_string();
        assert!(
            error.contains("a.json` is a web page (HTML or XML)"),
            "{error}"
        );
        write(b"\xff\xfe{\0}\0");
        let error = read_text(&path).unwrap_err().to_string();
        assert!(
            error.contains("a.json` is UTF-16, wanted UTF-8; convert it with `iconv"),
            "{error}"
        );
        write(b"ab\xff");
        let error = read_text(&path).unwrap_err();
        assert!(
            matches!(error, DataError::InvalidUtf8 { byte_offset: 2, .. }),
            "{error}"
        );
    }
}
