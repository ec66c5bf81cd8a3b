use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, RmsNorm, RmsNormConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor};
use pgm_model::layers::{
    RotaryAngles, RotaryEmbedding, apply, causal_attention, merge_heads, projection, split_heads,
};
use pgm_model::positions;
use pgm_weights::ForeignNames;
use serde::{Deserialize, Serialize};

use crate::error::{JudgeConfigError, check_heads, check_sizes};
use crate::rope_parameters::RopeParameters;
use crate::rope_scaling::RopeScaling;

/// Sizes of a [`Llama`], by the names of its `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// Token ids the network knows.
    pub vocab_size: usize,
    /// Width of the network.
    pub hidden_size: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Heads of the queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values, each shared by as many heads of queries; one each if left out.
    #[serde(default)]
    pub num_key_value_heads: Option<usize>,
    /// Features of a head; the width is shared out if left out.
    #[serde(default)]
    pub head_dim: Option<usize>,
    /// Longest sequence the network was trained on, in tokens.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Added to mean squares before their root is taken.
    #[serde(default = "default_epsilon")]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies, as older files have it.
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// The same and what is done to the frequencies, as newer files have it.
    #[serde(default)]
    pub rope_parameters: Option<RopeParameters>,
    /// What is done to the rotary frequencies, in older files; it holds where both are there, as in `transformers`.
    #[serde(default)]
    pub rope_scaling: Option<RopeParameters>,
    /// Longest sequence the network was trained on before its frequencies were changed, where the rotary parameters
    /// do not have it; it holds where both are there, as in `transformers`.
    #[serde(default)]
    pub original_max_position_embeddings: Option<usize>,
    /// What each rotary frequency is divided by before anything else, as GGUF files have it.
    #[serde(skip)]
    pub rope_divisors: Option<Vec<f64>>,
    /// How many tokens a token sees, itself included. Only texts of that length are judged, for which a window
    /// changes nothing.
    #[serde(default)]
    pub sliding_window: Option<usize>,
    /// Whether `sliding_window` holds, as it does if left out.
    #[serde(default)]
    pub use_sliding_window: Option<bool>,
    /// Whether the output layer is the token embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Biases of the attention's projections, which are not supported.
    #[serde(default)]
    pub attention_bias: bool,
    /// Biases of the feed-forward layers, which are not supported.
    #[serde(default)]
    pub mlp_bias: bool,
    /// The feed-forward layers' nonlinearity.
    #[serde(default = "default_activation")]
    pub hidden_act: String,
}

fn default_positions() -> usize {
    2048
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_activation() -> String {
    "silu".to_owned()
}

impl LlamaConfig {
    /// # Errors
    /// When a size is 0, heads do not divide what they share, or the network is a variant of Llama.
    pub fn validate(&self) -> Result<(), JudgeConfigError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_key_value_heads", self.n_key_value_heads()),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        let n_heads = self.num_attention_heads;
        if self.head_dim.is_none() {
            check_heads(
                "hidden_size",
                self.hidden_size,
                "num_attention_heads",
                n_heads,
            )?;
        }
        let n_shared = self.n_key_value_heads();
        check_heads(
            "num_attention_heads",
            n_heads,
            "num_key_value_heads",
            n_shared,
        )?;
        check_heads("head_dim", self.head_dim(), "2 halves", 2)?;
        self.validate_rope()?;
        if self.hidden_act != default_activation() {
            return Err(JudgeConfigError::Variant {
                name: "hidden_act".into(),
                found: self.hidden_act.clone(),
                wanted: "silu",
            });
        }
        JudgeConfigError::unless_variant("attention_bias", self.attention_bias, false)?;
        JudgeConfigError::unless_variant("mlp_bias", self.mlp_bias, false)
    }

    pub(crate) fn n_key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub(crate) fn head_dim(&self) -> usize {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Longest sequence that is judged, in tokens.
    pub(crate) fn context_length(&self) -> usize {
        let has_window = self.use_sliding_window.unwrap_or(true);
        let window = self.sliding_window.filter(|n| has_window && *n > 0);
        window.map_or(self.max_position_embeddings, |window| {
            window.min(self.max_position_embeddings)
        })
    }

    fn rope(&self) -> Option<&RopeParameters> {
        let older = self.rope_scaling.as_ref();
        let older = older.filter(|rope| **rope != RopeParameters::default());
        older.or(self.rope_parameters.as_ref())
    }

    fn rope_theta(&self) -> f64 {
        let newer = self.rope();
        newer
            .and_then(|rope| rope.rope_theta)
            .or(self.rope_theta)
            .unwrap_or(10_000.0)
    }

    fn rope_scaling(&self) -> Result<RopeScaling, JudgeConfigError> {
        let Some(rope) = self.rope() else {
            return Ok(RopeScaling::Plain);
        };
        let mut rope = rope.clone();
        if let Some(outer) = self.original_max_position_embeddings {
            rope.original_max_position_embeddings = Some(outer);
        }
        rope.scaling(self.max_position_embeddings)
    }

    fn validate_rope(&self) -> Result<(), JudgeConfigError> {
        self.rope_scaling()?;
        let refused = |reason| {
            let kind = self.rope().map_or("default", RopeParameters::kind);
            Err(JudgeConfigError::Frequencies {
                kind: kind.to_owned(),
                reason,
            })
        };
        let theta = self.rope_theta();
        if theta.is_nan() || theta <= 1.0 || theta.is_infinite() {
            return refused(format!(
                "the base `rope_theta` is {theta}, it has to be above 1"
            ));
        }
        let n_pairs = self.head_dim() / 2;
        match &self.rope_divisors {
            Some(divisors) if divisors.len() != n_pairs => refused(format!(
                "`rope_freqs.weight` has {} numbers, wanted {n_pairs}, one for each pair of features of a head",
                divisors.len()
            )),
            Some(divisors) => match divisors.iter().find(|n| !(n.is_finite() && **n > 0.0)) {
                Some(n) => refused(format!(
                    "`rope_freqs.weight` has the number {n}, all have to be above 0"
                )),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Rotary frequencies of the halves of a head, in radians a token.
    fn rotary_frequencies(&self, scaling: RopeScaling) -> Vec<f32> {
        let theta = self.rope_theta();
        let mut frequencies = RotaryEmbedding::frequencies(self.head_dim(), theta);
        for (frequency, divisor) in frequencies
            .iter_mut()
            .zip(self.rope_divisors.iter().flatten())
        {
            *frequency /= divisor;
        }
        scaling.apply(theta, &mut frequencies);
        frequencies.into_iter().map(|value| value as f32).collect()
    }

    /// Builds the network with random weights.
    ///
    /// # Panics
    /// Panics if [`Self::validate`] refuses the sizes.
    pub fn init(&self, device: &Device) -> Llama {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let scaling = self.rope_scaling().expect("it was validated");
        let head = projection(self.hidden_size, self.vocab_size, device);
        Llama {
            token_embedding: EmbeddingConfig::new(self.vocab_size, self.hidden_size).init(device),
            blocks: (0..self.num_hidden_layers)
                .map(|_| LlamaBlock::new(self, device))
                .collect(),
            norm: norm(self, device),
            head: (!self.tie_word_embeddings).then_some(head),
            rotary_frequencies: self.rotary_frequencies(scaling),
            rotary_amplitude: scaling.amplitude() as f32,
        }
    }
}

fn norm(config: &LlamaConfig, device: &Device) -> RmsNorm {
    RmsNormConfig::new(config.hidden_size)
        .with_epsilon(config.rms_norm_eps)
        .init(device)
}

/// Llama, and what has its architecture, such as SmolLM2: rotary positions, RMS norms, gated feed-forward
/// layers, keys and values shared by groups of heads, no biases.
///
/// # Reference
/// Llama (arXiv 2302.13971), with grouped queries (arXiv 2305.13245) as in Llama 2, and rotary frequencies that are plain,
/// slowed down alike, or as in Llama 3.1 (arXiv 2407.21783) or YaRN (arXiv 2309.00071).
#[derive(Module, Debug)]
pub struct Llama {
    token_embedding: Embedding,
    blocks: Vec<LlamaBlock>,
    norm: RmsNorm,
    head: Option<Linear>,
    #[module(skip)]
    rotary_frequencies: Vec<f32>,
    #[module(skip)]
    rotary_amplitude: f32,
}

impl Llama {
    /// Names of the published tensors.
    pub(crate) const NAMES: ForeignNames = ForeignNames {
        prefix: "model.",
        renamed: &[
            ("token_embedding.", "embed_tokens."),
            ("blocks.", "layers."),
            (".norm1.", ".input_layernorm."),
            (".norm2.", ".post_attention_layernorm."),
            (".attn_query.", ".self_attn.q_proj."),
            (".attn_key.", ".self_attn.k_proj."),
            (".attn_value.", ".self_attn.v_proj."),
            (".attn_out.", ".self_attn.o_proj."),
            (".mlp_gate.", ".mlp.gate_proj."),
            (".mlp_up.", ".mlp.up_proj."),
            (".mlp_down.", ".mlp.down_proj."),
            ("head.", "lm_head."),
        ],
        // Frequencies, which the configuration gives or repeats.
        ignored_endings: &["rotary_emb.inv_freq", "rope_freqs.weight"],
        is_linear_transposed: true,
    };

    /// The same with a head that is the token embedding, which some files hold twice.
    pub(crate) const TIED_NAMES: ForeignNames = ForeignNames {
        ignored_endings: &["rotary_emb.inv_freq", "rope_freqs.weight", "lm_head.weight"],
        ..Self::NAMES
    };

    /// What the output layer reads.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`
    /// - output: `[batch, seq, hidden_size]`
    pub fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, seq_len] = tokens.dims();
        let rotary =
            RotaryEmbedding::with_frequencies(self.rotary_frequencies.clone(), &tokens.device())
                .with_amplitude(self.rotary_amplitude);
        let angles = rotary.angles(positions(seq_len, &tokens));
        let embedded = self.token_embedding.forward(tokens);
        let blocks = self.blocks.iter();
        self.norm
            .forward(blocks.fold(embedded, |hidden, block| block.forward(hidden, &angles)))
    }

    /// Logits from [`Self::hidden`].
    ///
    /// # Shapes
    /// - hidden: `[rows, hidden_size]`
    /// - output: `[rows, vocab_size]`
    pub fn read_out(&self, hidden: Tensor<2>) -> Tensor<2> {
        match &self.head {
            Some(head) => head.forward(hidden),
            None => hidden.matmul(self.token_embedding.weight.val().transpose()),
        }
    }
}

#[derive(Module, Debug)]
struct LlamaBlock {
    norm1: RmsNorm,
    attn_query: Linear,
    attn_key: Linear,
    attn_value: Linear,
    attn_out: Linear,
    norm2: RmsNorm,
    mlp_gate: Linear,
    mlp_up: Linear,
    mlp_down: Linear,
    n_heads: usize,
    n_key_value_heads: usize,
}

impl LlamaBlock {
    fn new(config: &LlamaConfig, device: &Device) -> Self {
        let (d_model, d_hidden) = (config.hidden_size, config.intermediate_size);
        let n_heads = config.num_attention_heads;
        let n_key_value_heads = config.n_key_value_heads();
        let d_query = n_heads * config.head_dim();
        let d_key = n_key_value_heads * config.head_dim();
        Self {
            norm1: norm(config, device),
            attn_query: projection(d_model, d_query, device),
            attn_key: projection(d_model, d_key, device),
            attn_value: projection(d_model, d_key, device),
            attn_out: projection(d_query, d_model, device),
            norm2: norm(config, device),
            mlp_gate: projection(d_model, d_hidden, device),
            mlp_up: projection(d_model, d_hidden, device),
            mlp_down: projection(d_hidden, d_model, device),
            n_heads,
            n_key_value_heads,
        }
    }

    fn forward(&self, hidden: Tensor<3>, angles: &RotaryAngles) -> Tensor<3> {
        let normed = self.norm1.forward(hidden.clone());
        let [query] = split_heads(apply(&self.attn_query, normed.clone()), self.n_heads);
        let [key] = split_heads(
            apply(&self.attn_key, normed.clone()),
            self.n_key_value_heads,
        );
        let [value] = split_heads(apply(&self.attn_value, normed), self.n_key_value_heads);
        let n_sharing = self.n_heads / self.n_key_value_heads;
        let mixed = causal_attention(
            angles.rotate(query).swap_dims(1, 2),
            repeat_heads(angles.rotate(key).swap_dims(1, 2), n_sharing),
            repeat_heads(value.swap_dims(1, 2), n_sharing),
        );
        let hidden = hidden + apply(&self.attn_out, merge_heads(mixed.swap_dims(1, 2)));

        let normed = self.norm2.forward(hidden.clone());
        let gate = silu(apply(&self.mlp_gate, normed.clone()));
        hidden + apply(&self.mlp_down, gate * apply(&self.mlp_up, normed))
    }
}

/// Each head `n_times` in a row: `[batch, heads, seq, head_dim]` to `[batch, heads * n_times, seq, head_dim]`.
fn repeat_heads(heads: Tensor<4>, n_times: usize) -> Tensor<4> {
    if n_times == 1 {
        return heads;
    }
    let [batch, n_heads, seq_len, head_dim] = heads.dims();
    heads
        .unsqueeze_dim::<5>(2)
        .expand([batch, n_heads, n_times, seq_len, head_dim])
        .reshape([batch, n_heads * n_times, seq_len, head_dim])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rope: &str) -> LlamaConfig {
        let sizes = r#""vocab_size": 9, "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2"#;
        serde_json::from_str(&format!("{{{sizes}, {rope}}}")).unwrap()
    }

    fn frequencies(config: &LlamaConfig) -> Vec<f32> {
        config.rotary_frequencies(config.rope_scaling().unwrap())
    }

    #[test]
    fn old_and_new_files_give_the_same_frequencies() {
        let length = r#""original_max_position_embeddings": 64"#;
        let numbers = r#""factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0"#;
        let new = config(&format!(
            r#""rope_parameters": {{"rope_type": "llama3", "rope_theta": 500.0, {numbers}, {length}}}"#
        ));
        let new = frequencies(&new);
        for old in [
            format!(r#""rope_scaling": {{"rope_type": "llama3", {numbers}, {length}}}"#),
            format!(
                r#""rope_scaling": {{"type": "llama3", "rope_type": "llama3", {numbers}, {length}}}"#
            ),
            format!(r#""rope_scaling": {{"type": "llama3", {numbers}}}, {length}"#),
        ] {
            let old = config(&format!(r#""rope_theta": 500.0, {old}"#));
            assert_eq!(frequencies(&old), new);
        }
        let plain = frequencies(&config(r#""rope_theta": 500.0"#));
        assert_ne!(new, plain);
        assert_eq!((plain.len(), plain[0]), (4, 1.0));
    }

    #[test]
    fn frequencies_are_divided_before_they_are_scaled() {
        let mut scaled = config(r#""rope_scaling": {"type": "linear", "factor": 4.0}"#);
        let plain = frequencies(&config(r#""rope_scaling": null"#));
        scaled.rope_divisors = Some(vec![1.0, 2.0, 4.0, 8.0]);
        scaled.validate().unwrap();
        for (i, (found, plain)) in frequencies(&scaled).iter().zip(plain).enumerate() {
            assert_eq!(*found, plain / (4 << i) as f32);
        }
        for (divisors, wanted) in [
            (vec![1.0], "`rope_freqs.weight` has 1 numbers, wanted 4"),
            (
                vec![1.0, 0.0, 1.0, 1.0],
                "has the number 0, all have to be above 0",
            ),
        ] {
            scaled.rope_divisors = Some(divisors);
            let error = scaled.validate().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let error = config(r#""rope_theta": 1.0"#).validate().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`rope_theta` is 1, it has to be above 1")
        );
    }

    #[test]
    fn a_window_shortens_the_texts_that_are_judged() {
        for (window, length) in [
            (r#""sliding_window": 512"#, 512),
            (r#""sliding_window": 4096"#, 2048),
            (r#""sliding_window": null"#, 2048),
            (
                r#""sliding_window": 512, "use_sliding_window": false"#,
                2048,
            ),
        ] {
            assert_eq!(config(window).context_length(), length);
        }
    }

    #[test]
    fn heads_are_repeated_one_by_one() {
        let device = Device::flex();
        let heads = Tensor::<4>::from_floats([[[[1.0]], [[2.0]]]], &device);
        let repeated = repeat_heads(heads, 3).into_data();
        let values = repeated.as_slice::<f32>().unwrap();
        assert_eq!(values, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }
}
