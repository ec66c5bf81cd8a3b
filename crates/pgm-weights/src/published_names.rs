//! What parameters are called in the authors' code; `docs/naming.md` has the table.

/// The token embedding: every published network has it.
pub(crate) const TOKEN_EMBEDDING: &str = "vocab_embed.embedding";
/// Buffers, which are no parameters.
const BUFFER: &str = "rotary_emb.inv_freq";

/// Whether a published tensor is a buffer, which networks here compute themselves.
pub(crate) fn is_buffer(published: &str) -> bool {
    published.ends_with(BUFFER)
}

/// The networks with published names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishedNames {
    /// Of a partition transformer; `has_mlp4` is its query processor.
    Partition { has_mlp4: bool },
    /// Of a DiT.
    Masked,
}

/// Names of both networks. What starts with a dot stands inside a name, the rest at its start.
const SHARED: &[(&str, &str)] = &[
    ("token_embedding.weight", TOKEN_EMBEDDING),
    ("sigma_embedding.up.", "sigma_map.mlp.0."),
    ("sigma_embedding.down.", "sigma_map.mlp.2."),
    (
        "output_layer.ada_layer_norm.",
        "output_layer.adaLN_modulation.",
    ),
    ("output_layer.norm.", "output_layer.norm_final."),
    (".mlp.up.", ".mlp.0."),
    (".mlp.down.", ".mlp.2."),
    (".ada_layer_norm.linear.", ".adaLN_modulation."),
];

const MASKED: &[(&str, &str)] = &[("encoder.blocks.", "blocks.")];

const PARTITION: &[(&str, &str)] = &[
    ("group_swap.norm.", "group_swap.pre_query_norm."),
    ("group_swap.key_value.", "group_swap.hidden_to_key_value."),
    ("group_swap.out.", "group_swap.output_linear."),
    ("group_swap.", "decoder.group_swap."),
    ("decoder.blocks.", "decoder.layers."),
    (".query_norm.", ".q_norm1."),
    (".key_value_norm.", ".kv_norm1."),
    (".attn_query.", ".attn_q."),
    (".attn_key_value.", ".attn_kv."),
];

const LINEAR: &[(&str, &str)] = &[(".query_processor.first.", ".query_processor.")];

const MLP4: &[(&str, &str)] = &[
    (".query_processor.first.", ".query_processor.0."),
    (".query_processor.second.", ".query_processor.2."),
];

impl PublishedNames {
    /// The names of a network, told by its parameters; `None` if it was never published.
    pub(crate) fn from_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        let has = |part: &str| names.clone().any(|name| name.starts_with(part));
        match (has("group_swap."), has("sigma_embedding.")) {
            (true, true) => Some(Self::Partition {
                has_mlp4: has("group_swap.query_processor.second."),
            }),
            (false, true) => Some(Self::Masked),
            _ => None,
        }
    }

    /// The published name of a parameter; weights of norms are `weight` and `bias` on both sides.
    pub(crate) fn published(self, here: &str) -> String {
        let own: [&[(&str, &str)]; 2] = match self {
            Self::Masked => [MASKED, &[]],
            Self::Partition { has_mlp4: false } => [PARTITION, LINEAR],
            Self::Partition { has_mlp4: true } => [PARTITION, MLP4],
        };
        let mut name = here.to_owned();
        for (from, to) in SHARED.iter().chain(own[0]).chain(own[1]) {
            if from.starts_with('.') {
                name = name.replacen(from, to, 1);
            } else if let Some(rest) = name.strip_prefix(from) {
                name = format!("{to}{rest}");
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_the_published_ones() {
        let linear = PublishedNames::Partition { has_mlp4: false };
        let mlp4 = PublishedNames::Partition { has_mlp4: true };
        let masked = PublishedNames::Masked;
        for (names, here, published) in [
            (linear, "token_embedding.weight", "vocab_embed.embedding"),
            (linear, "sigma_embedding.down.bias", "sigma_map.mlp.2.bias"),
            (
                linear,
                "encoder.blocks.3.mlp.up.weight",
                "encoder.blocks.3.mlp.0.weight",
            ),
            (
                masked,
                "encoder.blocks.3.ada_layer_norm.linear.bias",
                "blocks.3.adaLN_modulation.bias",
            ),
            (
                linear,
                "group_swap.query_processor.first.bias",
                "decoder.group_swap.query_processor.bias",
            ),
            (
                mlp4,
                "group_swap.query_processor.second.bias",
                "decoder.group_swap.query_processor.2.bias",
            ),
            (
                linear,
                "group_swap.norm.weight",
                "decoder.group_swap.pre_query_norm.weight",
            ),
            (
                linear,
                "decoder.blocks.10.key_value_norm.weight",
                "decoder.layers.10.kv_norm1.weight",
            ),
            (
                linear,
                "decoder.blocks.0.attn_key_value.weight",
                "decoder.layers.0.attn_kv.weight",
            ),
            (
                masked,
                "output_layer.ada_layer_norm.weight",
                "output_layer.adaLN_modulation.weight",
            ),
            (
                masked,
                "output_layer.norm.weight",
                "output_layer.norm_final.weight",
            ),
        ] {
            assert_eq!(names.published(here), published);
        }
    }
}
