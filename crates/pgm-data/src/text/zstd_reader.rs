use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Bytes that are decompressed at a time, on top of the frame's window.
const STEP_BYTES: usize = 1 << 16;

/// The largest window that is read, in bytes: that of `zstd --long=31`, which is the longest.
const MAX_WINDOW_BYTES: u64 = 1 << 31;

/// The decompressed bytes of a `.zst` file: all of its frames, checksums compared.
///
/// Memory holds the window of a frame: 8 MiB as `zstd` is mostly called, up to 2 GiB with `--long=31`.
pub(crate) struct ZstdReader<R> {
    source: R,
    decoder: FrameDecoder,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    AtStart,
    InFrame,
    BetweenFrames,
}

impl<R: BufRead> ZstdReader<R> {
    pub(crate) fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        Self {
            source,
            decoder,
            state: State::AtStart,
        }
    }

    fn begin_frame(&mut self) -> io::Result<()> {
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.state = State::InFrame,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.state = State::BetweenFrames;
            }
            Err(FrameDecoderError::WindowSizeTooBig { requested, max }) => {
                return Err(unsupported(format!(
                    "it wants a window of {requested} bytes, at most {max} are read; decompress it first"
                )));
            }
            Err(FrameDecoderError::DictNotProvided { dict_id }) => {
                return Err(unsupported(format!(
                    "it was compressed with dictionary {dict_id}; decompress it first, with `zstd -d -D DICTIONARY`"
                )));
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        // The file's checksum is absent where `zstd` was run with `--no-check`.
        if let Some(wanted) = self.decoder.get_checksum_from_data()
            && let Some(got) = self.decoder.get_calculated_checksum()
            && got != wanted
        {
            let problem = format!("its checksum is {got:08x}, wanted {wanted:08x}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.state = State::BetweenFrames;
        Ok(())
    }
}

/// The error for a file that is whole.
fn unsupported(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason)
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.state == State::InFrame {
                if self.decoder.can_collect() > 0 || buffer.is_empty() {
                    return self.decoder.read(buffer);
                }
                if self.decoder.is_finished() {
                    self.end_frame()?;
                } else {
                    self.decoder
                        .decode_blocks(
                            &mut self.source,
                            BlockDecodingStrategy::UptoBytes(STEP_BYTES),
                        )
                        .map_err(io::Error::other)?;
                }
            } else if self.state == State::BetweenFrames && self.source.fill_buf()?.is_empty() {
                return Ok(0);
            } else {
                self.begin_frame()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn compress(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        ZstdReader::new(bytes).read_to_end(&mut text)?;
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
            "it wants a window of 4294967296 bytes, at most 2147483648 are read; decompress it first"
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
