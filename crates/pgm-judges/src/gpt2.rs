use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use pgm_model::layers::{
    FeedForward, FeedForwardConfig, apply, causal_attention, merge_heads, split_heads,
};
use pgm_model::positions;
use pgm_weights::ForeignNames;
use serde::{Deserialize, Serialize};

use crate::error::{JudgeConfigError, check_heads, check_sizes};

/// Sizes of a [`Gpt2`], by the names of its `config.json`. The defaults are those of GPT-2 small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpt2Config {
    /// Token ids the network knows.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub n_positions: usize,
    /// Width of the network.
    pub n_embd: usize,
    /// Transformer blocks.
    pub n_layer: usize,
    /// Attention heads.
    pub n_head: usize,
    /// Width of the feed-forward layers; four times `n_embd` if left out.
    pub n_inner: Option<usize>,
    /// Added to variances before their root is taken.
    pub layer_norm_epsilon: f64,
    /// The feed-forward layers' nonlinearity.
    pub activation_function: String,
    /// Whether the output layer is the token embedding.
    pub tie_word_embeddings: bool,
    /// Whether attention is divided by the root of a head's width.
    pub scale_attn_weights: bool,
    /// Whether attention is divided by the number of the layer, counted from 1, as well.
    pub scale_attn_by_inverse_layer_idx: bool,
}

impl Default for Gpt2Config {
    fn default() -> Self {
        Self {
            vocab_size: 50_257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            layer_norm_epsilon: 1e-5,
            activation_function: "gelu_new".to_owned(),
            tie_word_embeddings: true,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
        }
    }
}

impl Gpt2Config {
    /// # Errors
    /// When a size is 0, the heads do not divide the width, or the network is a variant of GPT-2.
    pub fn validate(&self) -> Result<(), JudgeConfigError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_layer", self.n_layer),
            ("n_inner", self.d_hidden()),
        ])?;
        check_heads("n_embd", self.n_embd, "n_head", self.n_head)?;
        let known = ["gelu_new", "gelu_pytorch_tanh"];
        if !known.contains(&self.activation_function.as_str()) {
            return Err(JudgeConfigError::Variant {
                name: "activation_function".into(),
                found: self.activation_function.clone(),
                wanted: "gelu_new",
            });
        }
        JudgeConfigError::unless_variant("tie_word_embeddings", self.tie_word_embeddings, true)
    }

    /// What the queries of a layer, counted from 0, are multiplied by on top of the usual scale of attention.
    fn query_scale(&self, layer: usize) -> f64 {
        let scale = if self.scale_attn_weights {
            1.0
        } else {
            ((self.n_embd / self.n_head) as f64).sqrt()
        };
        if self.scale_attn_by_inverse_layer_idx {
            scale / (layer + 1) as f64
        } else {
            scale
        }
    }

    fn d_hidden(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Builds the network with random weights.
    ///
    /// # Panics
    /// Panics if [`Self::validate`] refuses the sizes.
    pub fn init(&self, device: &Device) -> Gpt2 {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        Gpt2 {
            token_embedding: EmbeddingConfig::new(self.vocab_size, self.n_embd).init(device),
            position_embedding: EmbeddingConfig::new(self.n_positions, self.n_embd).init(device),
            blocks: (0..self.n_layer)
                .map(|layer| Gpt2Block::new(self, layer, device))
                .collect(),
            norm: norm(self, device),
        }
    }
}

fn norm(config: &Gpt2Config, device: &Device) -> LayerNorm {
    LayerNormConfig::new(config.n_embd)
        .with_epsilon(config.layer_norm_epsilon)
        .init(device)
}

/// GPT-2: learned positions, norms before each branch, biases everywhere, the token embedding as output layer.
///
/// # Reference
/// Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
#[derive(Module, Debug)]
pub struct Gpt2 {
    token_embedding: Embedding,
    position_embedding: Embedding,
    blocks: Vec<Gpt2Block>,
    norm: LayerNorm,
}

impl Gpt2 {
    /// Names of the published tensors; linear layers are `Conv1D`, laid out as Burn's are.
    pub(crate) const NAMES: ForeignNames = ForeignNames {
        prefix: "transformer.",
        renamed: &[
            ("token_embedding.", "wte."),
            ("position_embedding.", "wpe."),
            ("blocks.", "h."),
            (".norm1.", ".ln_1."),
            (".norm2.", ".ln_2."),
            (".attn_qkv.", ".attn.c_attn."),
            (".attn_out.", ".attn.c_proj."),
            (".mlp.up.", ".mlp.c_fc."),
            (".mlp.down.", ".mlp.c_proj."),
            ("norm.", "ln_f."),
        ],
        // Causal masks that old files hold, and the token embedding once more.
        ignored_endings: &[".attn.bias", ".attn.masked_bias", "lm_head.weight"],
        is_linear_transposed: false,
    };

    /// What the output layer reads.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - output: `[batch, seq, n_embd]`
    ///
    /// # Panics
    /// Panics if there are more tokens than positions.
    pub fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, seq_len] = tokens.dims();
        let [n_positions, _] = self.position_embedding.weight.dims();
        assert!(
            seq_len <= n_positions,
            "{seq_len} tokens, the network has {n_positions} positions"
        );
        let positions = self.position_embedding.forward(positions(seq_len, &tokens));
        let embedded = self.token_embedding.forward(tokens) + positions;
        let blocks = self.blocks.iter();
        self.norm
            .forward(blocks.fold(embedded, |hidden, block| block.forward(hidden)))
    }

    /// Logits from [`Self::hidden`].
    ///
    /// # Shapes
    /// - hidden: `[rows, n_embd]`
    /// - output: `[rows, vocab_size]`
    pub fn read_out(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.token_embedding.weight.val().transpose())
    }
}

#[derive(Module, Debug)]
struct Gpt2Block {
    norm1: LayerNorm,
    attn_qkv: Linear,
    attn_out: Linear,
    norm2: LayerNorm,
    mlp: FeedForward,
    n_heads: usize,
    #[module(skip)]
    query_scale: f64,
}

impl Gpt2Block {
    fn new(config: &Gpt2Config, layer: usize, device: &Device) -> Self {
        let d_model = config.n_embd;
        Self {
            norm1: norm(config, device),
            attn_qkv: LinearConfig::new(d_model, 3 * d_model).init(device),
            attn_out: LinearConfig::new(d_model, d_model).init(device),
            norm2: norm(config, device),
            mlp: FeedForwardConfig {
                d_model,
                d_hidden: config.d_hidden(),
            }
            .init(device),
            n_heads: config.n_head,
            query_scale: config.query_scale(layer),
        }
    }

    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let packed = apply(&self.attn_qkv, self.norm1.forward(hidden.clone()));
        let [query, key, value] =
            split_heads(packed, self.n_heads).map(|heads| heads.swap_dims(1, 2));
        let query = match self.query_scale {
            1.0 => query,
            scale => query * scale,
        };
        let mixed = causal_attention(query, key, value);
        let hidden = hidden + apply(&self.attn_out, merge_heads(mixed.swap_dims(1, 2)));
        let branch = self.mlp.forward(self.norm2.forward(hidden.clone()));
        hidden + branch
    }
}
