use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use burn::store::bridge;
use burn::store::burn_pack::{Tensor as StoredTensor, Writer};
use burn::tensor::Bytes;
use safetensors::{Dtype, View};

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
    let write = |error: &dyn std::fmt::Display| WeightsError::write(path, error);
    let tensors = tensors
        .into_iter()
        .map(|tensor| {
            let name = tensor.name.clone();
            let data = bridge::into_data(tensor).map_err(|error| write(&error))?;
            // Networks are float32 here; anything else is converted rather than mislabelled.
            let (bytes, shape, _) = data.convert::<f32>().into_parts();
            let shape = shape.to_vec();
            Ok((name, Float32 { shape, bytes }))
        })
        .collect::<Result<Vec<_>, WeightsError>>()?;
    let metadata = HashMap::from([(CONFIG_KEY.to_owned(), config)]);

    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let result = safetensors::serialize_to_file(tensors, Some(metadata), &temporary)
        .map_err(|error| write(&error))
        .and_then(|()| {
            File::open(&temporary)
                .and_then(|file| file.sync_all())
                .and_then(|()| fs::rename(&temporary, path))
                .map_err(|error| write(&error))
        });
    if result.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    result
}

struct Float32 {
    shape: Vec<usize>,
    bytes: Bytes,
}

impl View for Float32 {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
