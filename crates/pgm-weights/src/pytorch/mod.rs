//! PyTorch checkpoints, read without running anything that is stored in them.

mod pickle;
mod pickle_reader;
mod state_dict;
mod zip;

use std::path::Path;
use std::sync::Arc;

use self::pickle::{Id, Object, Pickle, StorageKind, TensorView};
use self::state_dict::StateDicts;
use self::zip::ZipArchive;
use crate::file_tensor::{FileTensor, UnreadableTensor};
use crate::published_names::{TOKEN_EMBEDDING, is_buffer};
use crate::read_error::ReadError;
use crate::weights_choice::{WeightsChoice, WeightsSource};
use crate::wrapper_prefix::{prefix_of, unwrap_names};

/// Largest `data.pkl` that is read, in bytes; those of checkpoints have a few megabytes.
const MAX_PICKLE: u64 = 256 << 20;

/// The tensors of a checkpoint, unread, under the names of its state dict ([`StateDicts`]).
pub(super) fn open(
    path: &Path,
    choice: WeightsChoice,
) -> Result<(Vec<FileTensor>, WeightsSource), ReadError> {
    let archive = ZipArchive::open(path)?;
    let (root, entry) = archive
        .find_suffix("data.pkl")
        .ok_or("it is a ZIP archive without `data.pkl`, which is no checkpoint of `torch.save`")?;
    if entry.size > MAX_PICKLE {
        return Err(format!(
            "its `data.pkl` has {} bytes, at most {MAX_PICKLE} are read",
            entry.size
        )
        .into());
    }
    if let Some(entry) = archive.get(&format!("{root}byteorder"))
        && archive.read(entry)? != b"little"
    {
        return Err("its tensors are big-endian, only little-endian ones are read".into());
    }
    let pickle = pickle_reader::read(&archive.read(entry)?)?;
    let checkpoint = Checkpoint {
        path: path.into(),
        archive,
        root,
        pickle,
    };
    let state_dict = |id| checkpoint.state_dict(id);
    match (StateDicts::find(&checkpoint.pickle)?, choice) {
        (StateDicts::Only(only), _) => Ok((state_dict(only)?, WeightsSource::Only)),
        (
            StateDicts::WithAverage { raw, .. } | StateDicts::WithList { raw, .. },
            WeightsChoice::Raw,
        ) => Ok((state_dict(raw)?, WeightsSource::Raw)),
        (StateDicts::WithAverage { average, .. }, WeightsChoice::Average) => {
            Ok((state_dict(average)?, WeightsSource::Average))
        }
        (StateDicts::WithList { raw, list }, WeightsChoice::Average) => {
            let average = checkpoint.average(&state_dict(raw)?, list)?;
            Ok((average, WeightsSource::Average))
        }
    }
}

struct Checkpoint {
    path: Arc<Path>,
    archive: ZipArchive,
    /// Folder in the archive, with its slash.
    root: String,
    pickle: Pickle,
}

impl Checkpoint {
    /// The entries of a dictionary that are tensors, in its order.
    fn state_dict(&self, dict: Id) -> Result<Vec<FileTensor>, ReadError> {
        let Object::Dict(entries) = self.pickle.object(dict) else {
            return Ok(Vec::new());
        };
        let tensors = entries.iter().filter_map(|&(key, value)| {
            match (self.pickle.object(key), self.pickle.object(value)) {
                (Object::Text(name), Object::Tensor(view)) => Some(self.tensor(name.clone(), view)),
                _ => None,
            }
        });
        let mut tensors = tensors.collect::<Result<Vec<_>, ReadError>>()?;
        unwrap_names(&mut tensors);
        Ok(tensors)
    }

    /// The averaged weights: a list without names, in the order of the network's parameters, which
    /// is that of the state dict without its buffers.
    fn average(&self, raw: &[FileTensor], shadow_params: Id) -> Result<Vec<FileTensor>, ReadError> {
        let Object::List(list) = self.pickle.object(shadow_params) else {
            return Err("its `ema.shadow_params` is no list".into());
        };
        let prefix = prefix_of(raw, TOKEN_EMBEDDING, "")?.unwrap_or_default();
        let parameters: Vec<&FileTensor> = raw
            .iter()
            .filter(|tensor| tensor.is_float && !is_buffer(&tensor.name))
            .filter(|tensor| tensor.name.starts_with(&prefix))
            .collect();
        if parameters.len() != list.len() {
            return Err(format!(
                "its `ema.shadow_params` has {} tensors and its `state_dict` {} parameters; use the raw weights",
                list.len(),
                parameters.len()
            )
            .into());
        }
        parameters
            .into_iter()
            .zip(list)
            .enumerate()
            .map(|(i, (parameter, &id))| {
                let Object::Tensor(view) = self.pickle.object(id) else {
                    return Err(format!("its `ema.shadow_params[{i}]` is no tensor").into());
                };
                if view.shape != parameter.shape {
                    return Err(format!(
                        "its `ema.shadow_params[{i}]` has shape {:?} and `{}` in its place {:?}; use the raw weights",
                        view.shape, parameter.name, parameter.shape
                    )
                    .into());
                }
                self.tensor(parameter.name.clone(), view)
            })
            .collect()
    }

    fn tensor(&self, name: String, view: &TensorView) -> Result<FileTensor, ReadError> {
        let shape = view.shape.clone();
        let dtype = match &view.storage.kind {
            StorageKind::Floats(dtype) => *dtype,
            StorageKind::Other(kind) => {
                return Ok(FileTensor::of_other_type(name, shape, false, kind));
            }
        };
        let entry_name = format!("{}data/{}", self.root, view.storage.key);
        let unreadable =
            |name, reason| Ok(FileTensor::unreadable(name, view.shape.clone(), reason));
        let Some(entry) = self.archive.get(&entry_name) else {
            return unreadable(name, UnreadableTensor::MissingEntry { entry: entry_name });
        };
        let end = view.end().and_then(|end| end.checked_mul(dtype.size()));
        if end.is_none_or(|end| end as u64 > entry.size) {
            let reason = UnreadableTensor::ShortEntry {
                entry: entry_name,
                n_bytes: entry.size,
            };
            return unreadable(name, reason);
        }
        if !view.is_contiguous() {
            let reason = UnreadableTensor::Strided {
                shape,
                strides: view.strides.clone(),
            };
            return unreadable(name, reason);
        }
        let offset = self.archive.data_start(entry)? + (view.offset * dtype.size()) as u64;
        Ok(FileTensor::in_file(&self.path, name, dtype, shape, offset))
    }
}
