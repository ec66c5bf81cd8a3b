use std::collections::BTreeMap;
use std::io::Read;

use super::value::GgufValue;
use crate::read_error::ReadError;

/// What stands in front of the weights.
pub(super) struct Header {
    pub entries: BTreeMap<String, GgufValue>,
    pub tensors: Vec<TensorEntry>,
    /// Where the weights begin, in bytes.
    pub data_start: u64,
}

/// A tensor as the header describes it.
pub(super) struct TensorEntry {
    pub name: String,
    /// Rows first, as everywhere but in the file.
    pub shape: Vec<usize>,
    pub type_id: u32,
    /// From the start of the weights, in bytes.
    pub offset: u64,
}

/// Dimensions of a tensor at most, as in GGML.
const MAX_DIMENSIONS: u32 = 4;
/// Arrays within arrays that are followed.
const MAX_DEPTH: usize = 4;

impl Header {
    /// Reads the header of a file of `file_size` bytes.
    pub(super) fn read(input: impl Read, file_size: u64) -> Result<Self, ReadError> {
        let mut reader = HeaderReader {
            input,
            position: 0,
            file_size,
        };
        if reader.bytes::<4>()? != *b"GGUF" {
            return Err(
                "it is no GGUF file; a judge with `config.json` is named by its folder".into(),
            );
        }
        check_version(reader.u32()?)?;
        let n_tensors = reader.u64()?;
        let n_entries = reader.u64()?;
        let mut entries = BTreeMap::new();
        for _ in 0..n_entries {
            let key = reader.text()?;
            let kind = reader.u32()?;
            entries.insert(key, reader.value(kind, 0)?);
        }
        let mut tensors = Vec::new();
        for _ in 0..n_tensors {
            tensors.push(reader.tensor()?);
        }
        let alignment = match entries.get("general.alignment") {
            Some(GgufValue::Integer(n)) => u64::try_from(*n).ok().filter(|n| *n > 0),
            _ => Some(32),
        };
        let alignment = alignment.ok_or("its `general.alignment` is no positive number")?;
        let data_start = reader
            .position
            .checked_next_multiple_of(alignment)
            .filter(|start| *start <= file_size)
            .ok_or("it ends before its weights; was it copied to its end?")?;
        Ok(Self {
            entries,
            tensors,
            data_start,
        })
    }
}

fn check_version(version: u32) -> Result<(), ReadError> {
    match version {
        2 | 3 => Ok(()),
        // A small number whose bytes are the other way round.
        _ if version.trailing_zeros() >= 16 && version != 0 => Err(format!(
            "it is a big-endian GGUF file (version {}), wanted a little-endian one; convert it with `gguf-convert-endian` of llama.cpp",
            version.swap_bytes()
        )
        .into()),
        0 | 1 => Err(format!(
            "it is GGUF version {version}, wanted 2 or 3; convert it again with a newer llama.cpp"
        )
        .into()),
        _ => Err(format!("it is GGUF version {version}, wanted 2 or 3").into()),
    }
}

struct HeaderReader<R> {
    input: R,
    position: u64,
    file_size: u64,
}

impl<R: Read> HeaderReader<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ReadError> {
        self.input
            .read_exact(bytes)
            .map_err(ReadError::ShortHeader)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, ReadError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ReadError> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// A length that the rest of the file may hold, so that damage asks for no memory.
    fn length(&mut self) -> Result<usize, ReadError> {
        let length = self.u64()?;
        if length <= self.file_size - self.position.min(self.file_size) {
            Ok(length as usize)
        } else {
            Err(format!("its header is damaged: a length of {length}").into())
        }
    }

    fn text(&mut self) -> Result<String, ReadError> {
        let mut bytes = vec![0; self.length()?];
        self.fill(&mut bytes)?;
        Ok(String::from_utf8(bytes)?)
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<GgufValue, ReadError> {
        use GgufValue::{Array, Bool, Float, Integer, Text};
        Ok(match kind {
            0 => Integer(self.bytes().map(u8::from_le_bytes)?.into()),
            1 => Integer(self.bytes().map(i8::from_le_bytes)?.into()),
            2 => Integer(self.bytes().map(u16::from_le_bytes)?.into()),
            3 => Integer(self.bytes().map(i16::from_le_bytes)?.into()),
            4 => Integer(self.u32()?.into()),
            5 => Integer(self.bytes().map(i32::from_le_bytes)?.into()),
            6 => Float(self.bytes().map(f32::from_le_bytes)?.into()),
            7 => Bool(self.bytes::<1>()? != [0]),
            8 => Text(self.text()?),
            9 if depth < MAX_DEPTH => {
                let kind = self.u32()?;
                let length = self.length()?;
                let values = (0..length).map(|_| self.value(kind, depth + 1));
                Array(values.collect::<Result<_, _>>()?)
            }
            10 => Integer(self.u64()?.into()),
            11 => Integer(self.bytes().map(i64::from_le_bytes)?.into()),
            12 => Float(self.bytes().map(f64::from_le_bytes)?),
            other => return Err(format!("its header has a value of unknown type {other}").into()),
        })
    }

    fn tensor(&mut self) -> Result<TensorEntry, ReadError> {
        let name = self.text()?;
        let n_dimensions = self.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&n_dimensions) {
            return Err(format!("`{name}` has {n_dimensions} dimensions").into());
        }
        let mut shape = Vec::new();
        let mut n_values = 1u64;
        for _ in 0..n_dimensions {
            let size = self.u64()?;
            // Two values a byte is the densest type.
            n_values = n_values
                .checked_mul(size)
                .filter(|n| size > 0 && *n / 2 <= self.file_size)
                .ok_or_else(|| format!("`{name}` has more values than the file holds, or none"))?;
            shape.insert(0, size as usize);
        }
        let type_id = self.u32()?;
        let offset = self.u64()?;
        if offset <= self.file_size {
            Ok(TensorEntry {
                name,
                shape,
                type_id,
                offset,
            })
        } else {
            Err(format!("`{name}` begins behind the end of the file").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one entry and one tensor of 2 x 3 values.
    fn header() -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        [
            b"GGUF".to_vec(),
            3u32.to_le_bytes().to_vec(),
            1u64.to_le_bytes().to_vec(),
            1u64.to_le_bytes().to_vec(),
            text("a"),
            9u32.to_le_bytes().to_vec(),
            8u32.to_le_bytes().to_vec(),
            2u64.to_le_bytes().to_vec(),
            text("x"),
            text("yz"),
            text("w"),
            2u32.to_le_bytes().to_vec(),
            3u64.to_le_bytes().to_vec(),
            2u64.to_le_bytes().to_vec(),
            0u32.to_le_bytes().to_vec(),
            0u64.to_le_bytes().to_vec(),
            vec![0; 64],
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<Header, ReadError> {
        Header::read(bytes, bytes.len() as u64)
    }

    #[test]
    fn entries_and_tensors_are_read() {
        let header = read(&header()).unwrap();
        let texts = ["x", "yz"].map(|text| GgufValue::Text(text.to_owned()));
        assert_eq!(header.entries["a"], GgufValue::Array(texts.to_vec()));
        let tensor = &header.tensors[0];
        assert_eq!(
            (tensor.name.as_str(), &tensor.shape[..]),
            ("w", &[2, 3][..])
        );
        assert_eq!(header.data_start % 32, 0);
    }

    #[test]
    fn other_versions_and_byte_orders_are_named() {
        for (version, wanted) in [
            (
                1u32.to_le_bytes(),
                "it is GGUF version 1, wanted 2 or 3; convert it again",
            ),
            (4u32.to_le_bytes(), "it is GGUF version 4, wanted 2 or 3"),
            (
                3u32.to_be_bytes(),
                "it is a big-endian GGUF file (version 3)",
            ),
        ] {
            let mut bytes = header();
            bytes[4..8].copy_from_slice(&version);
            let error = read(&bytes).err().unwrap().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let whole = header();
        let n_bytes = whole.len() - 64;
        for end in 0..n_bytes {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
        for index in 0..n_bytes {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[index] ^= 1 << bit;
                // Either is fine: names and texts may be anything.
                let _ = read(&damaged);
            }
        }
    }
}
