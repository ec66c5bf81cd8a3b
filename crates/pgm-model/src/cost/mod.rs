//! What a network costs: parameters, arithmetic and memory, from its sizes alone.
//!
//! A multiply-add counts as 2 floating-point operations. Matrix products and attention are counted;
//! norms, activations, softmax, look-ups and the conditioning (once a sequence) are left out. With
//! `D` the width, `r` the MLP ratio, `V` the vocabulary and `L` the length, in operations a token:
//!
//! - a block, of encoder or decoder: `2 (4 + 2 r) D^2`, and `4 k D` for attention to `k` keys;
//! - GroupSwap: `2 (4 + q) D^2` with `q` = 0 for one linear layer and 7 for `mlp4`, and `4 k D`;
//! - the output layer: `2 D V`.
//!
//! Keys are those that are read. A bidirectional network has `k = L`, a causal one `(L + 1) / 2` on
//! average. A partition transformer in training, where the share of group 1 is uniform in `[0, 1]`,
//! has `1 + 2 (L - 1) / 3` in the encoder (own group) and `(L - 1) / 3` behind it (other group).
//! The backward pass costs twice the forward pass.

mod report;

use discrete_diffusion::samplers::reveal_counts;

use crate::{LanguageModelConfig, PartitionTransformerConfig, QueryProcessorKind};

pub use report::{CostReport, PartParameters, SamplingCost, TrainingCost, TrainingSettings};

/// Sinusoidal features of the noise level.
const SIGMA_FEATURES: usize = 256;

/// Parameters of each part of a network, in the order in which tokens pass through.
pub fn parameters(config: &LanguageModelConfig) -> Vec<(&'static str, usize)> {
    let sizes = Sizes::from_config(config);
    let Sizes {
        d,
        ratio,
        cond,
        vocab,
        ..
    } = sizes;
    let linear = |d_in: usize, d_out: usize| d_in * d_out + d_out;
    let mlp = linear(d, ratio * d) + linear(ratio * d, d);
    // Two norms with a weight each, four projections without bias.
    let plain_block = 2 * d + 4 * d * d + mlp;
    let block = plain_block + linear(cond, 6 * d);
    let embedding = ("token embedding", vocab * d);
    let sigma = (
        "noise level",
        linear(SIGMA_FEATURES, cond) + linear(cond, cond),
    );
    let output = ("output layer", d + linear(cond, 2 * d) + linear(d, vocab));
    match config {
        LanguageModelConfig::Partition(config) => {
            let processor = match config.query_processor {
                QueryProcessorKind::Linear => linear(d, d),
                QueryProcessorKind::Mlp4 => linear(d, 4 * d) + linear(4 * d, d),
            };
            // The learned vector, a norm with weight and bias, and the projections.
            let group_swap = d + 2 * d + processor + linear(d, 2 * d) + linear(d, d);
            vec![
                embedding,
                sigma,
                ("encoder", config.n_encoder_blocks * block),
                ("GroupSwap", group_swap),
                // A norm more, for keys and values.
                ("decoder", config.n_decoder_blocks * (block + d)),
                output,
            ]
        }
        LanguageModelConfig::Masked(config) => {
            vec![
                embedding,
                sigma,
                ("blocks", config.n_blocks * block),
                output,
            ]
        }
        LanguageModelConfig::Causal(config) => vec![
            embedding,
            ("blocks", config.n_blocks * plain_block),
            ("output layer", d + linear(d, vocab)),
        ],
    }
}

/// All parameters of a network.
pub fn n_parameters(config: &LanguageModelConfig) -> usize {
    parameters(config).iter().map(|(_, n)| n).sum()
}

/// Operations a token of a training step, forward and backward, at sequences of `seq_len` tokens.
pub fn training_flops(config: &LanguageModelConfig, seq_len: usize) -> f64 {
    let sizes = Sizes::from_config(config);
    let length = seq_len as f64;
    let forward = match config {
        LanguageModelConfig::Partition(config) => {
            let own = 1.0 + 2.0 * (length - 1.0) / 3.0;
            let other = (length - 1.0) / 3.0;
            let encoder = sizes.block() + sizes.attention(own);
            let decoder = sizes.block() + sizes.attention(other);
            let group_swap = sizes.projections(4 + query_extra(config)) + sizes.attention(other);
            config.n_encoder_blocks as f64 * encoder
                + group_swap
                + config.n_decoder_blocks as f64 * decoder
        }
        LanguageModelConfig::Masked(config) => {
            config.n_blocks as f64 * (sizes.block() + sizes.attention(length))
        }
        LanguageModelConfig::Causal(config) => {
            config.n_blocks as f64 * (sizes.block() + sizes.attention((length + 1.0) / 2.0))
        }
    };
    3.0 * (forward + sizes.output())
}

/// Operations a drawn token, when `seq_len - 1` tokens are drawn behind a given first one.
///
/// - PGM: in `n_steps` steps of as many tokens each; a step runs the encoder over the known tokens
///   and the rest over the tokens it draws, which read all known ones (keys and values of the known
///   tokens count in each decoder block).
/// - MDLM: `n_steps` runs over all positions.
/// - Autoregressive: `n_steps` has no say; keys and values of the past are kept.
pub fn sampling_flops(config: &LanguageModelConfig, seq_len: usize, n_steps: usize) -> f64 {
    let sizes = Sizes::from_config(config);
    let n_drawn = seq_len.saturating_sub(1).max(1);
    let n_steps = n_steps.max(1);
    let length = seq_len as f64;
    match config {
        LanguageModelConfig::Partition(config) => {
            let mut known = 1;
            let mut total = 0.0;
            for queries in reveal_counts(seq_len.max(2) - 1, n_steps) {
                total += partition_step(config, &sizes, known, queries);
                known += queries;
            }
            total / n_drawn as f64
        }
        LanguageModelConfig::Masked(config) => {
            let token =
                config.n_blocks as f64 * (sizes.block() + sizes.attention(length)) + sizes.output();
            n_steps as f64 * length * token / n_drawn as f64
        }
        LanguageModelConfig::Causal(config) => {
            // The token at position i, of 1 to L - 1, comes from i keys.
            let keys = length / 2.0;
            config.n_blocks as f64 * (sizes.block() + sizes.attention(keys)) + sizes.output()
        }
    }
}

/// A step that draws `queries` tokens from `known` ones; a step that draws none does not run.
fn partition_step(
    config: &PartitionTransformerConfig,
    sizes: &Sizes,
    known: usize,
    queries: usize,
) -> f64 {
    if queries == 0 {
        return 0.0;
    }
    let (known, queries) = (known as f64, queries as f64);
    let key_value = known * sizes.projections(2);
    let encoder = known * (sizes.block() + sizes.attention(known));
    let decoder =
        key_value + queries * (sizes.block() - sizes.projections(2) + sizes.attention(known));
    let group_swap =
        key_value + queries * (sizes.projections(2 + query_extra(config)) + sizes.attention(known));
    config.n_encoder_blocks as f64 * encoder
        + group_swap
        + config.n_decoder_blocks as f64 * decoder
        + queries * sizes.output()
}

/// What the query processor has beyond one linear layer, in units of `D^2`.
fn query_extra(config: &PartitionTransformerConfig) -> usize {
    match config.query_processor {
        QueryProcessorKind::Linear => 0,
        QueryProcessorKind::Mlp4 => 7,
    }
}

/// Numbers that a training step keeps for its backward pass, a token: an estimate.
///
/// Counted are the inputs of matrix products, attention, tanh-GELU and what the parts of norms,
/// modulation and dropout save, in units of the width: `18 + 2 r` for a block with self-attention,
/// 4 more with cross-attention, 9 for GroupSwap; three times the vocabulary for logits,
/// log-probabilities and their gradient. Causal attention keeps its scores: two numbers a head and
/// key.
pub fn training_activations(config: &LanguageModelConfig, seq_len: usize) -> usize {
    let Sizes {
        d, ratio, vocab, ..
    } = Sizes::from_config(config);
    let block = (18 + 2 * ratio) * d;
    let output = 5 * d + 3 * vocab;
    output
        + match config {
            LanguageModelConfig::Partition(config) => {
                let extra = match config.query_processor {
                    QueryProcessorKind::Linear => 0,
                    QueryProcessorKind::Mlp4 => 8,
                };
                config.n_encoder_blocks * block
                    + (9 + extra) * d
                    + config.n_decoder_blocks * (block + 4 * d)
            }
            LanguageModelConfig::Masked(config) => config.n_blocks * block,
            LanguageModelConfig::Causal(config) => {
                config.n_blocks * (block + 2 * config.n_heads * seq_len)
            }
        }
}

/// Numbers that a sampling step holds at its largest, a sequence: an estimate.
///
/// One block's hidden states for every processed token and the logits of every token that is
/// predicted; keys and values of the past for an autoregressive network.
pub fn sampling_activations(config: &LanguageModelConfig, seq_len: usize, n_steps: usize) -> usize {
    let Sizes {
        d, ratio, vocab, ..
    } = Sizes::from_config(config);
    let hidden = (6 + 2 * ratio) * d;
    match config {
        LanguageModelConfig::Partition(_) => {
            let queries = seq_len.saturating_sub(1).div_ceil(n_steps.max(1));
            seq_len * hidden + queries * vocab
        }
        LanguageModelConfig::Masked(_) => seq_len * (hidden + vocab),
        LanguageModelConfig::Causal(config) => hidden + vocab + 2 * config.n_blocks * seq_len * d,
    }
}

struct Sizes {
    d: usize,
    ratio: usize,
    cond: usize,
    vocab: usize,
}

impl Sizes {
    fn from_config(config: &LanguageModelConfig) -> Self {
        let (d, ratio, cond) = match config {
            LanguageModelConfig::Partition(c) => (c.d_model, c.mlp_ratio, c.cond_dim),
            LanguageModelConfig::Masked(c) => (c.d_model, c.mlp_ratio, c.cond_dim),
            LanguageModelConfig::Causal(c) => (c.d_model, c.mlp_ratio, 0),
        };
        Self {
            d,
            ratio,
            cond,
            vocab: config.vocab_size(),
        }
    }

    /// `n` matrices of `D x D`, a token.
    fn projections(&self, n: usize) -> f64 {
        2.0 * n as f64 * (self.d as f64).powi(2)
    }

    /// The matrix products of a block, a token.
    fn block(&self) -> f64 {
        self.projections(4 + 2 * self.ratio)
    }

    /// Scores and mixing of values, a query.
    fn attention(&self, keys: f64) -> f64 {
        4.0 * keys * self.d as f64
    }

    fn output(&self) -> f64 {
        2.0 * self.d as f64 * self.vocab as f64
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::Device;

    use super::*;
    use crate::{CausalDitConfig, DitConfig, PreQuery};

    fn pgm(query_processor: QueryProcessorKind) -> LanguageModelConfig {
        LanguageModelConfig::Partition(PartitionTransformerConfig {
            vocab_size: 5,
            d_model: 2,
            n_heads: 1,
            n_encoder_blocks: 1,
            n_decoder_blocks: 2,
            cond_dim: 3,
            mlp_ratio: 2,
            dropout: 0.0,
            pre_query: PreQuery::Sinusoid,
            query_processor,
        })
    }

    fn dit() -> LanguageModelConfig {
        LanguageModelConfig::Masked(DitConfig {
            vocab_size: 5,
            d_model: 2,
            n_heads: 1,
            n_blocks: 3,
            cond_dim: 3,
            mlp_ratio: 2,
            dropout: 0.0,
        })
    }

    fn causal() -> LanguageModelConfig {
        LanguageModelConfig::Causal(CausalDitConfig {
            vocab_size: 5,
            d_model: 2,
            n_heads: 1,
            n_blocks: 3,
            mlp_ratio: 2,
            dropout: 0.0,
        })
    }

    /// Counted without allocating: Burn's parameters are made on first use.
    #[test]
    fn parameters_are_those_of_the_networks() {
        let published = PartitionTransformerConfig::default();
        let wide = PartitionTransformerConfig {
            d_model: 1024,
            n_heads: 16,
            n_encoder_blocks: 6,
            n_decoder_blocks: 6,
            ..published.clone()
        };
        for (config, expected) in [
            (pgm(QueryProcessorKind::Linear), None),
            (pgm(QueryProcessorKind::Mlp4), None),
            (dit(), None),
            (causal(), None),
            (LanguageModelConfig::Partition(published), Some(202_708_818)),
            (LanguageModelConfig::Partition(wide), Some(268_092_754)),
            (
                LanguageModelConfig::Masked(DitConfig::default()),
                Some(169_627_218),
            ),
        ] {
            let n = n_parameters(&config);
            assert_eq!(n, config.init(&Device::flex()).num_params(), "{config:?}");
            assert!(
                expected.is_none_or(|expected| n == expected),
                "{config:?}: {n}"
            );
        }
    }

    #[test]
    fn training_flops_are_those_worked_out_by_hand() {
        // A block: 2 (4 + 4) 4 = 64; a key: 8; the output layer: 2 * 2 * 5 = 20.
        // L = 4 bidirectional: 3 (64 + 4 * 8) + 20 = 308; causal, 2.5 keys: 3 (64 + 20) + 20 = 272.
        assert_eq!(training_flops(&dit(), 4), 3.0 * 308.0);
        assert_eq!(training_flops(&causal(), 4), 3.0 * 272.0);
        // PGM: 3 keys of the own group, 1 of the other: (64 + 24) + GroupSwap (2 * 4 * 4 + 8) +
        // 2 (64 + 8) + 20 = 292; mlp4 adds 2 * 7 * 4.
        let [linear, mlp4] = [QueryProcessorKind::Linear, QueryProcessorKind::Mlp4].map(pgm);
        assert_eq!(training_flops(&linear, 4), 3.0 * 292.0);
        assert_eq!(training_flops(&mlp4, 4), 3.0 * (292.0 + 56.0));
    }

    #[test]
    fn sampling_flops_are_those_worked_out_by_hand() {
        // MDLM: 2 steps of 4 positions for 3 tokens. AR: 1, 2 and 3 keys.
        assert_eq!(sampling_flops(&dit(), 4, 2), 2.0 * 4.0 * 308.0 / 3.0);
        assert_eq!(sampling_flops(&causal(), 4, 9), 3.0 * (64.0 + 16.0) + 20.0);
        // PGM in 2 steps: 2 tokens from 1 known one, then 1 from 3.
        // Encoder: 1 (64 + 8), 3 (64 + 24). Keys and values of a layer: 16 a known token.
        // GroupSwap: 16 + 2 (16 + 8), 48 + 16 + 24. Decoder block: 16 + 2 (48 + 8), 48 + 48 + 24.
        let first = 72.0 + 64.0 + 2.0 * 128.0 + 2.0 * 20.0;
        let second = 264.0 + 88.0 + 2.0 * 120.0 + 20.0;
        let config = pgm(QueryProcessorKind::Linear);
        assert_eq!(sampling_flops(&config, 4, 2), (first + second) / 3.0);
        // More steps than tokens: one token a step.
        assert_eq!(
            sampling_flops(&config, 4, 3),
            sampling_flops(&config, 4, 50)
        );
    }
}
