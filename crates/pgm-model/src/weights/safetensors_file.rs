use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use burn::store::burn_pack::Tensor as StoredTensor;
use burn::tensor::DType;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::weights_file::tensor_in_file;

/// Largest header that is read, in bytes: the limit of the format.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of a safetensors file, unread, and its key-value pairs.
pub(super) fn open(path: &Path) -> Result<(Vec<StoredTensor>, HashMap<String, String>), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let file_size = file.metadata().map_err(|error| error.to_string())?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length)
        .map_err(|_| "it is too short for safetensors".to_owned())?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(format!(
            "it is no checkpoint, safetensors or burnpack file (as safetensors its header would have {length} bytes)"
        ));
    }
    let mut header = Vec::new();
    file.take(length)
        .read_to_end(&mut header)
        .map_err(|error| error.to_string())?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| format!("its header is damaged: {error}"))?;
    let data_start = 8 + length;
    let expected = data_start + metadata.data_len() as u64;
    if file_size != expected {
        return Err(format!(
            "it has {file_size} bytes and its header describes {expected}; was it copied to its end?"
        ));
    }
    let path: Arc<Path> = path.into();
    let tensors = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let dtype = dtype(info.dtype)
                .ok_or_else(|| format!("`{name}` has type {:?}, which is not read", info.dtype))?;
            let offset = data_start + info.data_offsets.0 as u64;
            Ok(tensor_in_file(
                &path,
                name,
                dtype,
                info.shape.clone(),
                offset,
            ))
        })
        .collect::<Result<_, String>>()?;
    Ok((tensors, metadata.metadata().clone().unwrap_or_default()))
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::U8 => DType::U8,
        _ => return None,
    })
}
