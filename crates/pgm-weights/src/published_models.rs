use pgm_model::{DitConfig, LanguageModelConfig, PartitionTransformerConfig};

type Network = fn() -> LanguageModelConfig;

/// The authors' files on the Hugging Face hub (`jdeschena/pgm`), with the network in each.
const PUBLISHED: [(&str, Network); 6] = [
    ("mdlm.ckpt", mdlm),
    ("mdlm_sdtt_50k.ckpt", mdlm),
    ("pgm_8_8.ckpt", pgm_8_8),
    ("pgm_8_8_sdtt_fp32_50k.ckpt", pgm_8_8),
    ("pgm_6_6_dim1024.ckpt", pgm_6_6_dim1024),
    ("pgm_6_6_dim1024_sdtt_fp32_50k.ckpt", pgm_6_6_dim1024),
];

/// The network of a published file, by the name of the file.
pub fn published_model(file_name: &str) -> Option<LanguageModelConfig> {
    let found = PUBLISHED.iter().find(|(name, _)| *name == file_name)?;
    Some(found.1())
}

/// A network with what no tensor shows as in another one: the number of heads, the kind of pre-query and the dropout.
pub(crate) fn with_published_blanks(
    mut config: LanguageModelConfig,
    other: &LanguageModelConfig,
) -> LanguageModelConfig {
    match (&mut config, other) {
        (LanguageModelConfig::Partition(config), LanguageModelConfig::Partition(other)) => {
            config.n_heads = other.n_heads;
            config.pre_query = other.pre_query;
            config.dropout = other.dropout;
        }
        (LanguageModelConfig::Masked(config), LanguageModelConfig::Masked(other)) => {
            config.n_heads = other.n_heads;
            config.dropout = other.dropout;
        }
        _ => {}
    }
    config
}

fn mdlm() -> LanguageModelConfig {
    LanguageModelConfig::Masked(DitConfig::default())
}

fn pgm_8_8() -> LanguageModelConfig {
    LanguageModelConfig::Partition(PartitionTransformerConfig::default())
}

fn pgm_6_6_dim1024() -> LanguageModelConfig {
    LanguageModelConfig::Partition(PartitionTransformerConfig {
        d_model: 1024,
        n_heads: 16,
        n_encoder_blocks: 6,
        n_decoder_blocks: 6,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgm_model::cost::n_parameters;

    #[test]
    fn published_networks_have_the_published_sizes() {
        for (name, n) in [
            ("mdlm.ckpt", 169_627_218),
            ("pgm_8_8_sdtt_fp32_50k.ckpt", 202_708_818),
            ("pgm_6_6_dim1024.ckpt", 268_092_754),
        ] {
            let config = published_model(name).unwrap();
            assert_eq!(n_parameters(&config), n, "{name}");
            config.validate().unwrap();
        }
        assert_eq!(published_model("model.ckpt"), None);
    }
}
