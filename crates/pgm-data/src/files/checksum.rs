//! SHA-256 as hexadecimal digits.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::DataError;

/// The SHA-256 of `bytes`, as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    to_hex(&Sha256::digest(bytes))
}

/// The length of a file in bytes, and its SHA-256 as 64 lower-case hexadecimal digits.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<(u64, String), DataError> {
    File::open(path)
        .and_then(sha256_of_reader)
        .map_err(DataError::io("read", path))
}

/// The number of bytes left in a reader, and their SHA-256 as 64 lower-case hexadecimal digits.
///
/// # Errors
/// When the reader fails.
pub fn sha256_of_reader(mut reader: impl Read) -> std::io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut n_bytes = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((n_bytes, to_hex(&hash.finalize()))),
            Ok(n_read) => {
                hash.update(&buffer[..n_read]);
                n_bytes += n_read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// The 32 bytes behind 64 hexadecimal digits, or nothing when `hex` is something else.
pub(crate) fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        })
        .collect::<Option<_>>()?;
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_nothing_is_the_published_one() {
        let hex = sha256_hex(b"");
        assert_eq!(
            hex,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(to_hex(&from_hex(&hex).unwrap()), hex);
        assert_eq!(from_hex("e3b0"), None);
        assert_eq!(from_hex(&"x".repeat(64)), None);
    }
}
