use std::io::{self, BufRead, Read};

use zstd::stream::read::Decoder;

/// Binary logarithm of the largest window that is read, in bytes: that of `zstd --long=31`, which is the longest.
const MAX_WINDOW_LOG: u32 = 31;

/// The decompressed bytes of a `.zst` file: all of its frames, with their checksums verified.
///
/// Memory holds the window of a frame: 8 MiB as `zstd` is mostly called, up to 2 GiB with `--long=31`.
pub(crate) struct ZstdReader<R> {
    decoder: Decoder<'static, R>,
}

impl<R: BufRead> ZstdReader<R> {
    pub(crate) fn new(source: R) -> io::Result<Self> {
        let mut decoder = Decoder::with_buffer(source)?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Ok(Self { decoder })
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(with_way_out)
    }
}

/// Tells files that are whole but cannot be read here from damaged ones; libzstd says which by the text alone.
fn with_way_out(error: io::Error) -> io::Error {
    let unsupported = |reason| io::Error::new(io::ErrorKind::Unsupported, reason);
    match error.to_string().as_str() {
        "Frame requires too much memory for decoding" => {
            unsupported("its window is larger than the 2 GiB that are read; decompress it first")
        }
        "Dictionary mismatch" => unsupported(
            "it was compressed with a dictionary; decompress it first, with `zstd -d -D DICTIONARY`",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// One frame with its checksum, as the command `zstd` writes it.
    fn compress(text: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        ZstdReader::new(bytes)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn frames_are_joined_and_skippable_ones_passed_over() {
        let long = b"the whale ".repeat(50_000);
        let skippable = [&[0x52, 0x2A, 0x4D, 0x18, 3, 0, 0, 0], b"abc".as_slice()].concat();
        let file = [
            compress(b"one "),
            skippable.clone(),
            compress(&long),
            compress(b""),
            skippable,
        ]
        .concat();
        assert_eq!(
            decompress(&file).unwrap(),
            [b"one ".as_slice(), &long].concat()
        );
        assert_eq!(decompress(&compress(b"")).unwrap(), b"");
    }

    /// A frame of one raw block, with a window of `1 << exponent` bytes.
    fn frame(exponent: u8, text: &[u8]) -> Vec<u8> {
        let window = (exponent - 10) << 3;
        let block = u32::try_from(text.len() << 3).unwrap() | 1;
        [
            &[0x28, 0xb5, 0x2f, 0xfd, 0, window],
            &block.to_le_bytes()[..3],
            text,
        ]
        .concat()
    }

    #[test]
    fn long_windows_are_read_up_to_the_longest_of_zstd() {
        for exponent in [17, 27, 28, 31] {
            assert_eq!(decompress(&frame(exponent, b"whale")).unwrap(), b"whale");
        }
        let error = decompress(&frame(32, b"whale")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(
            error.to_string(),
            "its window is larger than the 2 GiB that are read; decompress it first"
        );
    }

    #[test]
    fn every_cut_and_every_changed_byte_of_the_content_is_noticed() {
        let text = b"It was a dark sea; the whale is white. ".repeat(3);
        let file = compress(&text);
        for n_bytes in 0..file.len() {
            assert!(decompress(&file[..n_bytes]).is_err(), "{n_bytes}");
        }
        for index in 0..file.len() {
            let mut changed = file.clone();
            changed[index] ^= 1;
            // A bit of the header may change nothing that matters; the text is never another one.
            assert!(
                decompress(&changed).map_or(true, |got| got == text),
                "{index}"
            );
        }
        let mut changed = file.clone();
        *changed.last_mut().unwrap() ^= 1;
        let error = decompress(&changed).unwrap_err();
        assert!(error.to_string().contains("checksum"), "{error}");
    }
}
