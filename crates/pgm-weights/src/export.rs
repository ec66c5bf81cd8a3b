use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use burn::store::bridge;
use burn::store::burn_pack::{Tensor as StoredTensor, Writer};
use burn::tensor::DType;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::WeightsError;
use crate::parameters::named_tensors;
use crate::stored_dtype::StoredDtype;

use pgm_model::{LanguageModel, LanguageModelConfig};

/// Key of the sizes of the network, as JSON, among the key-value pairs of a file.
pub(crate) const CONFIG_KEY: &str = "pgm_model.config";

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

/// How weights are written, and what is said with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsExport {
    /// Names, layout and form of the file.
    pub format: WeightsFormat,
    /// The number format.
    pub dtype: StoredDtype,
    /// Further key-value pairs of the file, which [`WeightsFile::notes`](crate::WeightsFile::notes) gives back.
    pub notes: BTreeMap<String, String>,
}

/// Writes the weights of a network in float32, with its sizes; a file of that name is replaced, once the new one is
/// complete.
///
/// # Errors
/// As [`WeightsExport::save`].
pub fn save(
    model: &LanguageModel,
    config: &LanguageModelConfig,
    format: WeightsFormat,
    path: impl AsRef<Path>,
) -> Result<(), WeightsError> {
    WeightsExport::new(format).save(model, config, path)
}

impl WeightsExport {
    /// In float32, without notes.
    pub fn new(format: WeightsFormat) -> Self {
        Self {
            format,
            dtype: StoredDtype::F32,
            notes: BTreeMap::new(),
        }
    }

    /// Writes the weights of a network, with its sizes; a file of that name is replaced, once the new one is complete.
    ///
    /// # Errors
    /// When the file cannot be written, the network has no published names, or a number does not fit into float16.
    pub fn save(
        &self,
        model: &LanguageModel,
        config: &LanguageModelConfig,
        path: impl AsRef<Path>,
    ) -> Result<(), WeightsError> {
        let path = path.as_ref();
        let config = serde_json::to_string(config).expect("sizes have a JSON form");
        let tensors = named_tensors(model, self.format == WeightsFormat::Published)?
            .into_iter()
            .map(|(name, mut tensor)| {
                tensor.name = name;
                self.dtype.convert(tensor)
            })
            .collect();
        let mut pairs = self.notes.clone();
        pairs.insert(CONFIG_KEY.to_owned(), config);
        match self.format {
            WeightsFormat::Burnpack => {
                let writer = Writer::new(tensors).auto_extension(false);
                pairs
                    .iter()
                    .fold(writer, |writer, (key, value)| {
                        writer.with_metadata(key, value)
                    })
                    .write_to_file(path)
                    .map_err(|error| WeightsError::write(path, io::Error::other(error)))
            }
            WeightsFormat::Safetensors | WeightsFormat::Published => {
                write_safetensors(tensors, pairs, path)
            }
        }
    }
}

fn write_safetensors(
    tensors: Vec<StoredTensor>,
    pairs: BTreeMap<String, String>,
    path: &Path,
) -> Result<(), WeightsError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let result = write_to(tensors, pairs, &temporary)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| WeightsError::write(path, error));
    if result.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Writes tensor by tensor, so that no more than one is held in memory beside the network.
fn write_to(
    tensors: Vec<StoredTensor>,
    pairs: BTreeMap<String, String>,
    path: &Path,
) -> io::Result<()> {
    let mut end = 0;
    let described = tensors.iter().map(|tensor| {
        let start = end;
        end += tensor.shape.num_elements() * tensor.dtype.size();
        let info = TensorInfo {
            dtype: safetensors_dtype(tensor.dtype),
            shape: tensor.shape.to_vec(),
            data_offsets: (start, end),
        };
        (tensor.name.clone(), info)
    });
    let metadata = Metadata::new(None, described.collect()).map_err(io::Error::other)?;
    let mut header = serde_json::to_value(&metadata)?;
    // In their order, which the library's hash map does not keep: the same weights are the same bytes.
    header["__metadata__"] = serde_json::to_value(pairs)?;
    let mut header = serde_json::to_vec(&header)?;
    // Tensors start at a multiple of 8.
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for tensor in tensors {
        let data = bridge::into_data(tensor).map_err(io::Error::other)?;
        file.write_all(data.as_bytes())?;
    }
    file.into_inner()?.sync_all()
}

/// # Panics
/// Panics for what [`StoredDtype::convert`] does not make of a weight.
fn safetensors_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        other => unreachable!("weights were converted, and are {other:?}"),
    }
}
