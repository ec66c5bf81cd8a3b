use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::DType;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::file_tensor::FileTensor;
use crate::read_error::ReadError;

/// Largest header that is read, in bytes: the limit of the format.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of a safetensors file, unread, and its key-value pairs.
pub(crate) fn open(path: &Path) -> Result<(Vec<FileTensor>, HashMap<String, String>), ReadError> {
    let mut file = File::open(path)?;
    let file_size = file.metadata()?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(ReadError::TooShort)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(format!(
            "it is no checkpoint, safetensors or burnpack file (as safetensors its header would have {length} bytes)"
        )
        .into());
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|source| ReadError::Json {
        damage: "its header is damaged",
        source,
    })?;
    let data_start = 8 + length;
    let expected = data_start + metadata.data_len() as u64;
    if file_size != expected {
        return Err(format!(
            "it has {file_size} bytes and its header describes {expected}; was it copied to its end?"
        )
        .into());
    }
    let path: Arc<Path> = path.into();
    let tensors = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let shape = info.shape.clone();
            let offset = data_start + info.data_offsets.0 as u64;
            match dtype(info.dtype) {
                Some(dtype) => FileTensor::in_file(&path, name, dtype, shape, offset),
                None => {
                    let dtype = format!("{:?}", info.dtype);
                    FileTensor::of_other_type(name, shape, is_float(info.dtype), &dtype)
                }
            }
        })
        .collect();
    Ok((tensors, metadata.metadata().clone().unwrap_or_default()))
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        _ => return None,
    })
}

/// Whether a type that is not read is one of floats.
fn is_float(dtype: Dtype) -> bool {
    !matches!(
        dtype,
        Dtype::BOOL
            | Dtype::U8
            | Dtype::I8
            | Dtype::U16
            | Dtype::I16
            | Dtype::U32
            | Dtype::I32
            | Dtype::U64
            | Dtype::I64
    )
}
