use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first byte of a gzip member.
const MAGIC: u8 = 0x1f;

/// The decompressed bytes of a `.gz` file: all of its members, checksums compared.
///
/// Zeros behind a member are padding, as gzip itself and Python have it; tapes and block devices leave it.
pub(crate) struct GzipReader<R> {
    /// There is always one between two calls.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            member: Some(GzDecoder::new(source)),
        }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let member = self.member.as_mut().expect("it is put back");
            let n_read = member.read(buffer)?;
            if n_read > 0 || buffer.is_empty() || skip_padding(member.get_mut())? {
                return Ok(n_read);
            }
            self.member = self
                .member
                .take()
                .map(|member| GzDecoder::new(member.into_inner()));
        }
    }
}

/// Skips zeros behind a member; whether the file ends there.
fn skip_padding(source: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = source.fill_buf()?;
        let n_zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        match bytes.get(n_zeros) {
            Some(&MAGIC) => {
                source.consume(n_zeros);
                return Ok(false);
            }
            Some(_) => {
                let problem = "bytes that are no gzip stand behind its last member";
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            None if bytes.is_empty() => return Ok(true),
            None => source.consume(n_zeros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::{BufReader, Write};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decompress(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        // A small buffer, so that padding is longer than it.
        GzipReader::new(BufReader::with_capacity(7, bytes)).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn zeros_behind_a_member_are_padding() {
        let (one, two, zeros) = (gzip(b"one "), gzip(b"two"), vec![0; 1000]);
        for parts in [
            [&one[..], &two[..], &[]],
            [&one[..], &two[..], &zeros[..]],
            [&one[..], &zeros[..], &two[..]],
            [&one[..], &[0], &two[..]],
        ] {
            assert_eq!(decompress(&parts.concat()).unwrap(), "one two");
        }
        let empty = [gzip(b""), one, gzip(b"")].concat();
        assert_eq!(decompress(&empty).unwrap(), "one ");
    }

    #[test]
    fn other_bytes_behind_a_member_are_damage() {
        let one = gzip(b"one");
        for rest in [b"\0\0text".as_slice(), b"x", b"\0\x1fx", b"\x1f\x8b"] {
            let error = decompress(&[&one, rest].concat()).unwrap_err();
            assert_ne!(error.to_string(), "", "{rest:?}");
        }
        let error = decompress(&[&one[..], b"text"].concat()).unwrap_err();
        assert!(error.to_string().contains("behind its last member"));
        assert!(decompress(&[0; 50]).is_err());
        assert!(decompress(b"").is_err());
    }
}
