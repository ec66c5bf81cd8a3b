//! The parameters of a network under their names in a file.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot};

use crate::error::{Mismatch, WeightsError};
use crate::file_tensor::FileTensor;
use crate::published_names::PublishedNames;

/// Parameters of a network by their name in the file, with their name here and their shape in the
/// file.
pub(crate) struct Parameters(pub BTreeMap<String, (String, Vec<usize>)>);

impl Parameters {
    pub fn from_model<M: Module>(model: &M, is_published: bool) -> Result<Self, WeightsError> {
        Ok(Self(
            named_tensors(model, is_published)?
                .into_iter()
                .map(|(name, tensor)| (name, (tensor.name.clone(), tensor.shape.to_vec())))
                .collect(),
        ))
    }

    /// How the tensors differ. Those that are no floats are no parameters: they matter only where others are missing,
    /// as they may stand for them.
    pub fn mismatch(&self, found: &BTreeMap<&str, &FileTensor>) -> Mismatch {
        let mut mismatch = Mismatch::default();
        for (name, (_, wanted)) in &self.0 {
            match found.get(name.as_str()) {
                None => mismatch.missing.push(name.clone()),
                Some(tensor) if tensor.shape != *wanted => {
                    mismatch
                        .misshapen
                        .push((name.clone(), tensor.shape.clone(), wanted.clone()))
                }
                Some(_) => {}
            }
        }
        let is_complete = mismatch.missing.is_empty();
        let unexpected = found.iter().filter(|(name, tensor)| {
            !self.0.contains_key(**name) && (tensor.is_float || !is_complete)
        });
        mismatch.unexpected = unexpected.map(|(name, _)| (*name).to_owned()).collect();
        mismatch
    }
}

/// The parameters of a network by their name in a file, laid out as there; their own name is the one
/// here.
pub(crate) fn named_tensors<M: Module>(
    model: &M,
    is_published: bool,
) -> Result<Vec<(String, StoredTensor)>, WeightsError> {
    if !is_published {
        let tensors = model.collect(None, None, true).into_iter();
        return Ok(tensors
            .map(|tensor| (tensor.name.clone(), tensor))
            .collect());
    }
    let tensors = model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true);
    let names = PublishedNames::from_names(tensors.iter().map(|tensor| tensor.name.as_str()))
        .ok_or(WeightsError::NoPublishedNames)?;
    Ok(tensors
        .into_iter()
        .map(|tensor| (names.published(&tensor.name), tensor))
        .collect())
}
