//! GGUF, the format of llama.cpp: sizes, tokenizer and quantised weights in one file.

mod blocks;
mod header;
mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use burn::store::bridge;
use burn::store::burn_pack::{Error as PackError, Tensor as StoredTensor};
use burn::tensor::{DType, Shape, TensorData};

use self::blocks::BlockFormat;
use self::header::{Header, TensorEntry};
use crate::error::WeightsError;
use crate::file_kind::start_of;
use crate::file_tensor::FileTensor;
use crate::read_error::ReadError;

pub use self::value::GgufValue;

/// A GGUF file (versions 2 and 3) of a Llama: its entries, and its tensors under their published names.
///
/// Weights of the types F32, F16, Q8_0, Q4_0 and Q4_1 are read, and become float32 when they are used.
///
/// # Reference
/// <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
#[derive(Debug)]
pub struct GgufFile {
    entries: BTreeMap<String, GgufValue>,
    tensors: Vec<FileTensor>,
}

impl GgufFile {
    /// Reads the header.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged or cut short, or is of another network or of another type of weights.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        open(path).map_err(|reason| WeightsError::read(path, reason))
    }

    /// The entry of a name.
    pub fn value(&self, key: &str) -> Option<&GgufValue> {
        self.entries.get(key)
    }

    /// An entry that is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_text()
    }

    /// An entry that is a count.
    pub fn size(&self, key: &str) -> Option<usize> {
        self.value(key)?.as_integer()?.try_into().ok()
    }

    /// An entry that is a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            GgufValue::Float(value) => Some(*value),
            value => value.as_integer().map(|value| value as f64),
        }
    }

    /// An entry that is a list of texts.
    pub fn texts(&self, key: &str) -> Option<Vec<&str>> {
        let values = self.value(key)?.as_array()?;
        values.iter().map(GgufValue::as_text).collect()
    }

    /// An entry that is a list of integers.
    pub fn integers(&self, key: &str) -> Option<Vec<i128>> {
        let values = self.value(key)?.as_array()?;
        values.iter().map(GgufValue::as_integer).collect()
    }

    /// Rows of the tensor of a published name.
    pub fn rows_of(&self, name: &str) -> Option<usize> {
        let tensor = self.tensors.iter().find(|tensor| tensor.name == name)?;
        tensor.shape.first().copied()
    }

    /// Values of the tensor of a published name, if there is one.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn values_of(&self, name: &str) -> Result<Option<Vec<f32>>, ReadError> {
        let Some(tensor) = self.tensors.iter().find(|tensor| tensor.name == name) else {
            return Ok(None);
        };
        let values = float32_values(tensor).map_err(|source| ReadError::Values {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Some(values))
    }

    /// All entries by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &GgufValue)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    pub(crate) fn into_tensors(self) -> Vec<FileTensor> {
        self.tensors
    }
}

fn float32_values(tensor: &FileTensor) -> Result<Vec<f32>, ReadError> {
    let data = bridge::into_data(tensor.values.clone()?)?;
    data.try_into_vec()
        .map_err(|error| format!("{error:?}").into())
}

fn open(path: &Path) -> Result<GgufFile, ReadError> {
    start_of(path)?;
    let file = File::open(path)?;
    let file_size = file.metadata()?.len();
    let Header {
        entries,
        tensors,
        data_start,
    } = Header::read(BufReader::new(file), file_size)?;
    check_network(&entries)?;
    let heads = |key: &str| {
        let value = entries.get(key).and_then(GgufValue::as_integer);
        value.and_then(|n| usize::try_from(n).ok())
    };
    let n_heads = heads("llama.attention.head_count").unwrap_or(1);
    let n_key_value_heads = heads("llama.attention.head_count_kv").unwrap_or(n_heads);
    let path: Arc<Path> = path.into();
    let mut stored = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let format = BlockFormat::from_type_id(tensor.type_id).ok_or_else(|| {
            format!(
                "`{}` has GGML type {}, wanted F32, F16, Q4_0, Q4_1 or Q8_0; quantise it to one of these",
                tensor.name, tensor.type_id
            )
        })?;
        let n_values: usize = tensor.shape.iter().product();
        let n_bytes = format.n_bytes(n_values).ok_or_else(|| {
            format!(
                "`{}` has {n_values} values, which are no whole blocks",
                tensor.name
            )
        })?;
        let start = data_start + tensor.offset;
        if start + n_bytes as u64 > file_size {
            return Err(format!(
                "`{}` ends behind the end of the file of {file_size} bytes; was it copied to its end?",
                tensor.name
            )
            .into());
        }
        let interleaved = match tensor.name.rsplit_once("attn_") {
            Some((_, "q.weight")) => Some(n_heads),
            Some((_, "k.weight")) => Some(n_key_value_heads),
            _ => None,
        };
        if let Some(n_heads) = interleaved
            && (n_heads == 0 || !tensor.shape[0].is_multiple_of(2 * n_heads))
        {
            return Err(format!(
                "`{}` has {} rows, which are not {n_heads} heads",
                tensor.name, tensor.shape[0]
            )
            .into());
        }
        stored.push(FileTensor::new(stored_tensor(
            path.clone(),
            tensor,
            format,
            start,
            n_bytes,
            interleaved,
        )));
    }
    Ok(GgufFile {
        entries,
        tensors: stored,
    })
}

/// Other networks have weights of other names, and often of other types: the network is the one reason to tell.
fn check_network(entries: &BTreeMap<String, GgufValue>) -> Result<(), ReadError> {
    let text = |key: &str| entries.get(key).and_then(GgufValue::as_text);
    match text("general.architecture") {
        Some("llama") => {}
        Some(other) => {
            return Err(format!(
                "it is a GGUF file of the architecture `{other}`, wanted `llama`; take another model"
            )
            .into());
        }
        None => return Err("its header has no `general.architecture`; convert it again".into()),
    }
    match text("general.type") {
        None | Some("model") => Ok(()),
        Some(other) => {
            Err(format!("it is a GGUF file of the type `{other}`, wanted `model`").into())
        }
    }
}

fn stored_tensor(
    path: Arc<Path>,
    tensor: TensorEntry,
    format: BlockFormat,
    start: u64,
    n_bytes: usize,
    interleaved_heads: Option<usize>,
) -> StoredTensor {
    let shape = tensor.shape.clone();
    let read = move || -> Result<TensorData, PackError> {
        let io = |error: std::io::Error| PackError::IoError(error.to_string());
        let mut bytes = vec![0; n_bytes];
        let mut file = File::open(&path).map_err(io)?;
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        file.read_exact(&mut bytes).map_err(io)?;
        let mut values = format.dequantise(&bytes);
        if let Some(n_heads) = interleaved_heads {
            values = halves_first(&values, n_heads, shape[0]);
        }
        Ok(TensorData::new(values, shape.clone()))
    };
    let name = published_name(&tensor.name);
    bridge::deferred(name, DType::F32, Shape::from(tensor.shape), None, read)
}

/// llama.cpp rotates neighbouring rows of a head, and its files have the rows sorted for that. This puts the
/// first of all pairs in front again.
fn halves_first(values: &[f32], n_heads: usize, n_rows: usize) -> Vec<f32> {
    let width = values.len() / n_rows;
    let head_dim = n_rows / n_heads;
    let rows = (0..n_rows).map(|row| {
        let (head, feature) = (row / head_dim, row % head_dim);
        let (half, pair) = (feature / (head_dim / 2), feature % (head_dim / 2));
        head * head_dim + 2 * pair + half
    });
    rows.flat_map(|row| values[row * width..(row + 1) * width].iter().copied())
        .collect()
}

/// The name in safetensors files.
fn published_name(name: &str) -> String {
    let outer = match name {
        "token_embd.weight" => Some("model.embed_tokens.weight"),
        "output_norm.weight" => Some("model.norm.weight"),
        "output.weight" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(outer) = outer {
        return outer.to_owned();
    }
    let renamed = [
        ("blk.", "model.layers."),
        (".attn_norm.", ".input_layernorm."),
        (".ffn_norm.", ".post_attention_layernorm."),
        (".attn_q.", ".self_attn.q_proj."),
        (".attn_k.", ".self_attn.k_proj."),
        (".attn_v.", ".self_attn.v_proj."),
        (".attn_output.", ".self_attn.o_proj."),
        (".ffn_gate.", ".mlp.gate_proj."),
        (".ffn_up.", ".mlp.up_proj."),
        (".ffn_down.", ".mlp.down_proj."),
    ];
    renamed.iter().fold(name.to_owned(), |name, (there, here)| {
        name.replace(there, here)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_head_are_halves_again() {
        // Two heads of four features; pairs (0, 2) and (1, 3) of a head were written side by side.
        let written = [0.0, 2.0, 1.0, 3.0, 10.0, 12.0, 11.0, 13.0];
        let expected = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
        assert_eq!(halves_first(&written, 2, 8), expected);
    }

    #[test]
    fn names_become_the_published_ones() {
        for (there, here) in [
            ("output.weight", "lm_head.weight"),
            (
                "blk.7.attn_output.weight",
                "model.layers.7.self_attn.o_proj.weight",
            ),
            (
                "blk.0.ffn_norm.weight",
                "model.layers.0.post_attention_layernorm.weight",
            ),
        ] {
            assert_eq!(published_name(there), here);
        }
    }
}
