use discrete_diffusion::Weighting;
use pgm_model::{
    CausalDitConfig, DitConfig, LanguageModelConfig, PartitionTransformerConfig, PreQuery,
    Precision, QueryProcessorKind,
};
use serde::{Deserialize, Serialize};

/// The families of models that can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// Partition generative model.
    #[default]
    Pgm,
    /// Masked diffusion.
    Mdlm,
    /// Masked diffusion with a mask and its complement.
    ComplementMdlm,
    /// Autoregressive.
    Ar,
}

impl ObjectiveKind {
    /// The name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pgm => "pgm",
            Self::Mdlm => "mdlm",
            Self::ComplementMdlm => "complement-mdlm",
            Self::Ar => "ar",
        }
    }
}

/// What is learned.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveSection {
    /// The family.
    pub kind: ObjectiveKind,
    /// Weights of the training loss.
    pub weighting: Weighting,
}

/// Sizes of the network; the vocabulary follows from the tokenizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// Width.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Encoder blocks of a PGM.
    pub n_encoder_blocks: usize,
    /// Decoder blocks of a PGM.
    pub n_decoder_blocks: usize,
    /// Blocks of an MDLM or AR model.
    pub n_blocks: usize,
    /// Width of the conditioning vector.
    pub cond_dim: usize,
    /// Width of the feed-forward layers, in units of `d_model`.
    pub mlp_ratio: usize,
    /// Dropout on both residual branches, in `[0, 1)`.
    pub dropout: f64,
    /// What GroupSwap's queries are made of.
    pub pre_query: PreQuery,
    /// The map from GroupSwap's pre-query to its query.
    pub query_processor: QueryProcessorKind,
    /// Number format of matrix products and attention; everything else is float32.
    pub precision: Precision,
}

impl Default for ModelSection {
    fn default() -> Self {
        let pgm = PartitionTransformerConfig::default();
        Self {
            d_model: pgm.d_model,
            n_heads: pgm.n_heads,
            n_encoder_blocks: pgm.n_encoder_blocks,
            n_decoder_blocks: pgm.n_decoder_blocks,
            n_blocks: DitConfig::default().n_blocks,
            cond_dim: pgm.cond_dim,
            mlp_ratio: pgm.mlp_ratio,
            dropout: pgm.dropout,
            pre_query: pgm.pre_query,
            query_processor: pgm.query_processor,
            precision: Precision::default(),
        }
    }
}

impl ModelSection {
    /// The network for an objective.
    pub fn network(&self, objective: ObjectiveKind, vocab_size: usize) -> LanguageModelConfig {
        match objective {
            ObjectiveKind::Pgm => LanguageModelConfig::Partition(PartitionTransformerConfig {
                vocab_size,
                d_model: self.d_model,
                n_heads: self.n_heads,
                n_encoder_blocks: self.n_encoder_blocks,
                n_decoder_blocks: self.n_decoder_blocks,
                cond_dim: self.cond_dim,
                mlp_ratio: self.mlp_ratio,
                dropout: self.dropout,
                pre_query: self.pre_query,
                query_processor: self.query_processor,
            }),
            ObjectiveKind::Mdlm | ObjectiveKind::ComplementMdlm => {
                LanguageModelConfig::Masked(DitConfig {
                    vocab_size,
                    d_model: self.d_model,
                    n_heads: self.n_heads,
                    n_blocks: self.n_blocks,
                    cond_dim: self.cond_dim,
                    mlp_ratio: self.mlp_ratio,
                    dropout: self.dropout,
                })
            }
            ObjectiveKind::Ar => LanguageModelConfig::Causal(CausalDitConfig {
                vocab_size,
                d_model: self.d_model,
                n_heads: self.n_heads,
                n_blocks: self.n_blocks,
                mlp_ratio: self.mlp_ratio,
                dropout: self.dropout,
            }),
        }
    }
}
