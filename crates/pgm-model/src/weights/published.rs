use std::path::Path;

use burn::module::Module;
use burn::store::{KeyRemapper, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};

use crate::{Dit, PartitionTransformer};

/// Why published weights could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file is missing, not safetensors, or holds a tensor of another shape or type.
    #[error("`{path}` could not be loaded: {reason}")]
    Load {
        /// The file.
        path: String,
        /// What the reader says.
        reason: String,
    },
    /// Parameters of the network are not in the file.
    #[error(
        "`{path}` lacks {} of the network's parameters, `{}` first; its architecture is another one",
        .names.len(),
        .names.first().map_or("", String::as_str)
    )]
    Missing {
        /// The file.
        path: String,
        /// Names in this crate's form.
        names: Vec<String>,
    },
    /// The file holds tensors that the network has no place for.
    #[error(
        "`{path}` has {} tensors that the network lacks, `{}` first; its architecture is another one",
        .names.len(),
        .names.first().map_or("", String::as_str)
    )]
    Unused {
        /// The file.
        path: String,
        /// Names in this crate's form.
        names: Vec<String>,
    },
}

/// A network with published weights: knows how its parameters are called there.
pub trait PublishedWeights: Module {
    /// Patterns of published names and what they become here.
    const RENAMES: &'static [(&'static str, &'static str)];
}

/// Names that both networks share; applied after the network's own.
const SHARED_RENAMES: &[(&str, &str)] = &[
    (r"^vocab_embed\.embedding$", "token_embedding.weight"),
    (r"^sigma_map\.mlp\.0\.", "sigma_embedding.up."),
    (r"^sigma_map\.mlp\.2\.", "sigma_embedding.down."),
    (r"\.mlp\.0\.", ".mlp.up."),
    (r"\.mlp\.2\.", ".mlp.down."),
    (
        r"blocks\.(\d+)\.adaLN_modulation\.",
        "blocks.$1.ada_layer_norm.linear.",
    ),
    (
        r"^output_layer\.adaLN_modulation\.",
        "output_layer.ada_layer_norm.",
    ),
    (r"^output_layer\.norm_final\.", "output_layer.norm."),
];

impl PublishedWeights for PartitionTransformer {
    const RENAMES: &'static [(&'static str, &'static str)] = &[
        (r"^decoder\.group_swap\.", "group_swap."),
        (r"^group_swap\.pre_query_norm\.", "group_swap.norm."),
        (
            r"^group_swap\.query_processor\.(weight|bias)$",
            "group_swap.query_processor.first.$1",
        ),
        (
            r"^group_swap\.query_processor\.0\.",
            "group_swap.query_processor.first.",
        ),
        (
            r"^group_swap\.query_processor\.2\.",
            "group_swap.query_processor.second.",
        ),
        (
            r"^group_swap\.hidden_to_key_value\.",
            "group_swap.key_value.",
        ),
        (r"^group_swap\.output_linear\.", "group_swap.out."),
        (r"^decoder\.layers\.", "decoder.blocks."),
        (r"\.q_norm1\.", ".query_norm."),
        (r"\.kv_norm1\.", ".key_value_norm."),
        (r"\.attn_q\.", ".attn_query."),
        (r"\.attn_kv\.", ".attn_key_value."),
    ];
}

impl PublishedWeights for Dit {
    const RENAMES: &'static [(&'static str, &'static str)] = &[(r"^blocks\.", "encoder.blocks.")];
}

/// Loads a state dict that was saved as safetensors under the published names.
///
/// The prefix `backbone.` of training checkpoints and the buffer `rotary_emb.inv_freq` are ignored.
///
/// # Errors
/// When the file cannot be read, or its tensors and the network's parameters are not the same.
pub fn load_published<M: PublishedWeights + ModuleSnapshot>(
    model: &mut M,
    path: &Path,
) -> Result<(), WeightsError> {
    let shown = path.display().to_string();
    let patterns = [(r"^backbone\.", "")]
        .iter()
        .chain(M::RENAMES)
        .chain(SHARED_RENAMES)
        .copied()
        .collect();
    let remapper = KeyRemapper::from_patterns(patterns).expect("the patterns are valid");
    let mut store = SafetensorsStore::from_file(path)
        .remap(remapper)
        .with_from_adapter(PyTorchToBurnAdapter)
        .validate(false)
        .allow_partial(true);
    let result = model
        .load_from(&mut store)
        .map_err(|error| WeightsError::Load {
            path: shown.clone(),
            reason: error.to_string(),
        })?;
    if let Some(error) = result.errors.first() {
        return Err(WeightsError::Load {
            path: shown,
            reason: error.to_string(),
        });
    }
    let missing: Vec<String> = result
        .missing
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(WeightsError::Missing {
            path: shown,
            names: missing,
        });
    }
    let unused: Vec<String> = result
        .unused
        .into_iter()
        .filter(|name| !name.ends_with("rotary_emb.inv_freq"))
        .collect();
    if !unused.is_empty() {
        return Err(WeightsError::Unused {
            path: shown,
            names: unused,
        });
    }
    Ok(())
}
