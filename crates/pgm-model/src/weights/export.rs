use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use burn::store::bridge;
use burn::store::burn_pack::{Tensor as StoredTensor, Writer};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::error::WeightsError;
use super::weights_file::named_tensors;
use crate::{LanguageModel, LanguageModelConfig};

/// Key of the sizes of the network, as JSON, among the key-value pairs of a file.
pub(super) const CONFIG_KEY: &str = "pgm_model.config";

/// What [`save`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsFormat {
    /// Safetensors with this crate's names and layout.
    Safetensors,
    /// Safetensors with the names and the layout of the authors' code.
    Published,
    /// Burn's own format, with this crate's names and layout.
    Burnpack,
}

/// Writes the weights of a network, with its sizes; a file of that name is replaced, once the new one is
/// complete.
///
/// # Errors
/// When the file cannot be written, or the network has no published names.
pub fn save(
    model: &LanguageModel,
    config: &LanguageModelConfig,
    format: WeightsFormat,
    path: impl AsRef<Path>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let config = serde_json::to_string(config).expect("sizes have a JSON form");
    let tensors = named_tensors(model, format == WeightsFormat::Published)?
        .into_iter()
        .map(|(name, mut tensor)| {
            tensor.name = name;
            tensor
        })
        .collect();
    match format {
        WeightsFormat::Burnpack => Writer::new(tensors)
            .with_metadata(CONFIG_KEY, &config)
            .auto_extension(false)
            .write_to_file(path)
            .map_err(|error| WeightsError::write(path, error)),
        WeightsFormat::Safetensors | WeightsFormat::Published => {
            write_safetensors(tensors, config, path)
        }
    }
}

fn write_safetensors(
    tensors: Vec<StoredTensor>,
    config: String,
    path: &Path,
) -> Result<(), WeightsError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let result = write_to(tensors, config, &temporary)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| WeightsError::write(path, error));
    if result.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Writes tensor by tensor, so that no more than one is held in memory beside the network.
fn write_to(tensors: Vec<StoredTensor>, config: String, path: &Path) -> io::Result<()> {
    let mut end = 0;
    let described = tensors.iter().map(|tensor| {
        let start = end;
        end += tensor.shape.num_elements() * size_of::<f32>();
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: tensor.shape.to_vec(),
            data_offsets: (start, end),
        };
        (tensor.name.clone(), info)
    });
    let pairs = HashMap::from([(CONFIG_KEY.to_owned(), config)]);
    let metadata = Metadata::new(Some(pairs), described.collect()).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    // Tensors start at a multiple of 8.
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for tensor in tensors {
        let data = bridge::into_data(tensor).map_err(io::Error::other)?;
        // Networks are float32 here; anything else is converted rather than mislabelled.
        file.write_all(data.convert::<f32>().as_bytes())?;
    }
    file.into_inner()?.sync_all()
}
