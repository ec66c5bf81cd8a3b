use pgm_model::LanguageModel;
use serde::{Deserialize, Serialize};

/// How sequences are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplerKind {
    /// PGM, MDLM: the same number of positions in every step.
    Uniform,
    /// PGM: binomial numbers of positions, the law of ancestral sampling.
    NonUniform,
    /// PGM: binomial numbers of positions as in the published code.
    NonUniformPublished,
    /// PGM: the law of ancestral sampling with the forward pass of training at full length.
    Naive,
    /// MDLM: ancestral sampling.
    Ancestral,
    /// MDLM: ancestral sampling with the published draw over the whole vocabulary.
    Published,
    /// MDLM: as `Published`, with predictions kept while nothing changes.
    Cached,
    /// PGM, MDLM: as many positions a step as an entropy bound allows.
    EntropyBound,
    /// PGM, MDLM: ReMDM, tokens are hidden again with a capped probability.
    RemaskCap,
    /// PGM, MDLM: ReMDM, tokens are hidden again with a share of the largest probability.
    RemaskRescale,
    /// AR: token after token.
    Autoregressive,
}

const PGM: [SamplerKind; 7] = [
    SamplerKind::Uniform,
    SamplerKind::NonUniform,
    SamplerKind::NonUniformPublished,
    SamplerKind::Naive,
    SamplerKind::EntropyBound,
    SamplerKind::RemaskCap,
    SamplerKind::RemaskRescale,
];
const MDLM: [SamplerKind; 7] = [
    SamplerKind::Ancestral,
    SamplerKind::Uniform,
    SamplerKind::Published,
    SamplerKind::Cached,
    SamplerKind::EntropyBound,
    SamplerKind::RemaskCap,
    SamplerKind::RemaskRescale,
];

impl SamplerKind {
    /// The samplers that fit a model, the usual one first.
    pub fn for_model(model: &LanguageModel) -> &'static [Self] {
        match model {
            LanguageModel::Partition(_) => &PGM,
            LanguageModel::Masked(_) => &MDLM,
            LanguageModel::Causal(_) => &[Self::Autoregressive],
        }
    }

    /// The name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::NonUniform => "non-uniform",
            Self::NonUniformPublished => "non-uniform-published",
            Self::Naive => "naive",
            Self::Ancestral => "ancestral",
            Self::Published => "published",
            Self::Cached => "cached",
            Self::EntropyBound => "entropy-bound",
            Self::RemaskCap => "remask-cap",
            Self::RemaskRescale => "remask-rescale",
            Self::Autoregressive => "autoregressive",
        }
    }

    /// How it draws a token from the network's output, in words that go behind "tokens drawn".
    pub fn draw(self) -> &'static str {
        match self {
            Self::Published | Self::Cached => {
                "with Gumbel noise in float64 over all positions and the whole vocabulary"
            }
            _ => {
                "by inverting the distribution function in float64, positions and tokens apart, without noise over the vocabulary"
            }
        }
    }

    /// Whether the order of revealing and blocks mean something to the sampler.
    pub(crate) fn has_order(self) -> bool {
        !matches!(self, Self::Published | Self::Cached | Self::Autoregressive)
    }
}
