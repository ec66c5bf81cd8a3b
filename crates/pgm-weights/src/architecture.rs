//! The sizes of a network from the shapes of its published tensors.

use std::collections::BTreeMap;

use crate::published_names::TOKEN_EMBEDDING;
use pgm_model::{
    DitConfig, LanguageModelConfig, PartitionTransformerConfig, PreQuery, QueryProcessorKind,
};

/// Features of a head in all published networks.
pub(crate) const PUBLISHED_HEAD_DIM: usize = 64;

/// Why the tensors of a file do not tell the network that they belong to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// A tensor of every published network is not there.
    #[error("`{name}` is missing")]
    Missing {
        /// The tensor.
        name: String,
    },
    /// A tensor that shows sizes is no matrix.
    #[error("`{name}` has shape {shape:?}, wanted two dimensions")]
    Dimensions {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The width is not one of heads as in published networks.
    #[error(
        "its width {d_model} is no multiple of {PUBLISHED_HEAD_DIM}, the features of a head in published networks; \
         give `n_heads`"
    )]
    Heads {
        /// The width.
        d_model: usize,
    },
    /// The names of the tensors are not published ones, and the file does not say its sizes.
    #[error(
        "it has neither published names nor the sizes that `pgm convert` writes, but {found}; a checkpoint of a run is \
         opened by the run's folder"
    )]
    Names {
        /// The tensors, in words.
        found: String,
    },
}

/// Reads the sizes; `shapes` are those of the tensors by published name.
///
/// The number of heads is no shape: it is taken for `d_model / 64` unless given. Nor is the kind of
/// pre-query, which is taken for the published one, nor dropout, which is 0.1.
pub(crate) fn read(
    shapes: &BTreeMap<&str, Vec<usize>>,
    n_heads: Option<usize>,
) -> Result<LanguageModelConfig, ArchitectureError> {
    let shape = |name: &str| match shapes.get(name).map(Vec::as_slice) {
        Some([rows, columns]) => Ok((*rows, *columns)),
        Some(other) => Err(ArchitectureError::Dimensions {
            name: name.to_owned(),
            shape: other.to_vec(),
        }),
        None => Err(ArchitectureError::Missing {
            name: name.to_owned(),
        }),
    };
    let (vocab_size, d_model) = shape(TOKEN_EMBEDDING)?;
    let (cond_dim, _) = shape("sigma_map.mlp.0.weight")?;
    let n_heads = match n_heads {
        Some(n_heads) => n_heads,
        None if d_model.is_multiple_of(PUBLISHED_HEAD_DIM) => d_model / PUBLISHED_HEAD_DIM,
        None => return Err(ArchitectureError::Heads { d_model }),
    };
    let is_partition = shapes.contains_key("decoder.group_swap.base_embedding");
    let blocks = if is_partition {
        "encoder.blocks"
    } else {
        "blocks"
    };
    let (d_hidden, _) = shape(&format!("{blocks}.0.mlp.0.weight"))?;
    let mlp_ratio = d_hidden / d_model.max(1);
    let dropout = DitConfig::default().dropout;
    Ok(if is_partition {
        let has_mlp4 = shapes.contains_key("decoder.group_swap.query_processor.2.weight");
        LanguageModelConfig::Partition(PartitionTransformerConfig {
            vocab_size,
            d_model,
            n_heads,
            n_encoder_blocks: count_blocks(shapes, blocks),
            n_decoder_blocks: count_blocks(shapes, "decoder.layers"),
            cond_dim,
            mlp_ratio,
            dropout,
            pre_query: PreQuery::default(),
            query_processor: if has_mlp4 {
                QueryProcessorKind::Mlp4
            } else {
                QueryProcessorKind::Linear
            },
        })
    } else {
        LanguageModelConfig::Masked(DitConfig {
            vocab_size,
            d_model,
            n_heads,
            n_blocks: count_blocks(shapes, blocks),
            cond_dim,
            mlp_ratio,
            dropout,
        })
    })
}

/// Blocks `{prefix}.0`, `{prefix}.1`, ... that have an output projection.
fn count_blocks(shapes: &BTreeMap<&str, Vec<usize>>, prefix: &str) -> usize {
    (0..)
        .take_while(|i| shapes.contains_key(format!("{prefix}.{i}.attn_out.weight").as_str()))
        .count()
}
