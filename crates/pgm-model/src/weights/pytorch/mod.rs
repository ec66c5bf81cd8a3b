//! PyTorch checkpoints, read without running anything that is stored in them.

mod pickle;
mod pickle_reader;
mod zip;

use std::path::Path;
use std::sync::Arc;

use burn::store::burn_pack::Tensor as StoredTensor;

use self::pickle::{Id, Object, Pickle, TensorView};
use self::zip::ZipArchive;
use super::published_names::{BACKBONE, is_buffer};
use super::weights_file::{WeightsChoice, WeightsSource, tensor_in_file};

/// Largest `data.pkl` that is read, in bytes; those of checkpoints have a few megabytes.
const MAX_PICKLE: u64 = 256 << 20;

/// The tensors of a checkpoint, unread, under the names of its `state_dict`.
///
/// A checkpoint without a `state_dict` is taken for one itself.
pub(super) fn open(
    path: &Path,
    choice: WeightsChoice,
) -> Result<(Vec<StoredTensor>, WeightsSource), String> {
    let archive = ZipArchive::open(path)?;
    let (root, entry) = archive
        .find_suffix("data.pkl")
        .ok_or("it is a ZIP archive without `data.pkl`, which is no checkpoint of `torch.save`")?;
    if entry.size > MAX_PICKLE {
        return Err(format!(
            "its `data.pkl` has {} bytes, at most {MAX_PICKLE} are read",
            entry.size
        ));
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
    let pickle = &checkpoint.pickle;
    let state_dict = pickle.entry(pickle.root, "state_dict");
    let raw = checkpoint.state_dict(state_dict.unwrap_or(pickle.root))?;
    if raw.is_empty() {
        return Err("it holds no state dict: no tensors by name".into());
    }
    let average = pickle
        .entry(pickle.root, "ema")
        .and_then(|ema| pickle.entry(ema, "shadow_params"));
    match (choice, average) {
        (WeightsChoice::Average, Some(shadow_params)) => Ok((
            checkpoint.average(&raw, shadow_params)?,
            WeightsSource::Average,
        )),
        (_, None) => Ok((raw, WeightsSource::Only)),
        (WeightsChoice::Raw, _) => Ok((raw, WeightsSource::Raw)),
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
    fn state_dict(&self, dict: Id) -> Result<Vec<StoredTensor>, String> {
        let Object::Dict(entries) = self.pickle.object(dict) else {
            return Ok(Vec::new());
        };
        entries
            .iter()
            .filter_map(|&(key, value)| {
                match (self.pickle.object(key), self.pickle.object(value)) {
                    (Object::Text(name), Object::Tensor(view)) => {
                        Some(self.tensor(name.clone(), view))
                    }
                    _ => None,
                }
            })
            .collect()
    }

    /// The averaged weights: a list without names, in the order of the network's parameters, which
    /// is that of the state dict without its buffers.
    fn average(
        &self,
        raw: &[StoredTensor],
        shadow_params: Id,
    ) -> Result<Vec<StoredTensor>, String> {
        let Object::List(list) = self.pickle.object(shadow_params) else {
            return Err("its `ema.shadow_params` is no list".into());
        };
        let is_checkpoint = raw.iter().any(|tensor| tensor.name.starts_with(BACKBONE));
        let parameters: Vec<&StoredTensor> = raw
            .iter()
            .filter(|tensor| !is_buffer(&tensor.name))
            .filter(|tensor| !is_checkpoint || tensor.name.starts_with(BACKBONE))
            .collect();
        if parameters.len() != list.len() {
            return Err(format!(
                "its `ema.shadow_params` has {} tensors and its `state_dict` {} parameters; use the raw weights",
                list.len(),
                parameters.len()
            ));
        }
        parameters
            .into_iter()
            .zip(list)
            .enumerate()
            .map(|(i, (parameter, &id))| {
                let Object::Tensor(view) = self.pickle.object(id) else {
                    return Err(format!("its `ema.shadow_params[{i}]` is no tensor"));
                };
                if view.shape != parameter.shape.to_vec() {
                    return Err(format!(
                        "its `ema.shadow_params[{i}]` has shape {:?} and `{}` in its place {:?}; use the raw weights",
                        view.shape,
                        parameter.name,
                        parameter.shape.to_vec()
                    ));
                }
                self.tensor(parameter.name.clone(), view)
            })
            .collect()
    }

    fn tensor(&self, name: String, view: &TensorView) -> Result<StoredTensor, String> {
        let entry_name = format!("{}data/{}", self.root, view.storage.key);
        let entry = self
            .archive
            .get(&entry_name)
            .ok_or_else(|| format!("`{name}` lies in `{entry_name}`, which is missing"))?;
        let end = view
            .end()
            .and_then(|end| end.checked_mul(view.storage.dtype.size()));
        if end.is_none_or(|end| end as u64 > entry.size) {
            return Err(format!(
                "`{name}` {:?} reaches beyond the {} bytes of `{entry_name}`",
                view.shape, entry.size
            ));
        }
        if !view.is_contiguous() {
            return Err(format!(
                "`{name}` has shape {:?} and strides {:?}; call `.contiguous()` on it and save again",
                view.shape, view.strides
            ));
        }
        let offset = view.offset * view.storage.dtype.size();
        Ok(tensor_in_file(
            &self.path,
            name,
            view.storage.dtype,
            view.shape.clone(),
            self.archive.data_start(entry)? + offset as u64,
        ))
    }
}
