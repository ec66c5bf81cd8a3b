use serde_json::{Map, Value};

use crate::error::JudgeConfigError;
use Neutral::{Absent, Off, On, One, Texts, Zero, ZeroOrOne};

/// The value of a key with which it changes nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Neutral {
    /// False, or an empty or absent list.
    Off,
    /// True.
    On,
    /// 1.
    One,
    /// 0 or 1, either of which such keys have for "none".
    ZeroOrOne,
    /// 0.
    Zero,
    /// One of these texts, or a list of them.
    Texts(&'static [&'static str]),
    /// The key has to be absent.
    Absent,
}

impl Neutral {
    fn holds(self, value: &Value) -> bool {
        let is_list_of = |is_it: &dyn Fn(&Value) -> bool| match value {
            Value::Array(values) => values.iter().all(is_it),
            value => is_it(value),
        };
        match self {
            Self::Off => match value {
                Value::Array(values) => values.is_empty(),
                Value::Object(values) => values.is_empty(),
                value => *value == Value::Bool(false),
            },
            Self::On => *value == Value::Bool(true),
            Self::One => is_list_of(&|value| value.as_f64() == Some(1.0)),
            Self::ZeroOrOne => is_list_of(&|value| matches!(value.as_f64(), Some(0.0 | 1.0))),
            Self::Zero => is_list_of(&|value| value.as_f64() == Some(0.0)),
            Self::Texts(texts) => {
                is_list_of(&|value| value.as_str().is_some_and(|text| texts.contains(&text)))
            }
            Self::Absent => false,
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Off => "false",
            Self::On => "true",
            Self::One | Self::ZeroOrOne => "1",
            Self::Zero => "0",
            Self::Texts(texts) => texts[0],
            Self::Absent => "null",
        }
    }
}

/// What the keys of a description are for.
pub(crate) struct ConfigKeys {
    /// Those that are read, and those that change no number.
    pub known: &'static [&'static [&'static str]],
    /// Starts of keys that change no number.
    pub known_starts: &'static [&'static str],
    /// Those that change the numbers in a way that is not there.
    pub unsupported: &'static [&'static [(&'static str, Neutral)]],
}

impl ConfigKeys {
    /// Keys that are not known, each with `prefix` in front.
    ///
    /// # Errors
    /// When a key changes the numbers in a way that is not there.
    pub fn unknown(
        &self,
        prefix: &str,
        entries: &Map<String, Value>,
    ) -> Result<Vec<String>, JudgeConfigError> {
        let mut unknown = Vec::new();
        for (key, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
            let mut unsupported = self.unsupported.iter().copied().flatten();
            let unsupported = unsupported.find(|(name, _)| name == key);
            match unsupported {
                Some((_, neutral)) if neutral.holds(value) => {}
                Some((_, neutral)) => {
                    return Err(JudgeConfigError::Variant {
                        name: format!("{prefix}{key}"),
                        found: shortened(value),
                        wanted: neutral.wanted(),
                    });
                }
                None if self.is_known(key) => {}
                None => unknown.push(format!("{prefix}{key}")),
            }
        }
        Ok(unknown)
    }

    fn is_known(&self, key: &str) -> bool {
        let mut known = self.known.iter();
        known.any(|known| known.contains(&key))
            || self.known_starts.iter().any(|start| key.starts_with(start))
    }
}

/// A value as it is shown in an error.
fn shortened(value: &Value) -> String {
    const LENGTH: usize = 40;
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Of any `config.json`: what concerns training, generation, other tasks and the library itself.
const LIBRARY: &[&str] = &[
    "model_type",
    "architectures",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "transformers.js_config",
    "_name_or_path",
    "_commit_hash",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "attn_implementation",
    "auto_map",
    "initializer_range",
    "use_cache",
    "return_dict",
    "return_dict_in_generate",
    "torchscript",
    "use_bfloat16",
    "tf_legacy_loss",
    "finetuning_task",
    "problem_type",
    "id2label",
    "label2id",
    "num_labels",
    "_num_labels",
    "task_specific_params",
    "tokenizer_class",
    "prefix",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "sep_token_id",
    "unk_token_id",
    "is_decoder",
    "is_encoder_decoder",
    "cross_attention_hidden_size",
    "chunk_size_feed_forward",
    "tie_encoder_decoder",
    "gradient_checkpointing",
    "attention_dropout",
    "hidden_dropout",
    "pretraining_tp",
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "diversity_penalty",
    "early_stopping",
    "exponential_decay_length_penalty",
    "max_length",
    "min_length",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "remove_invalid_values",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_past",
    "keys_to_ignore_at_inference",
    "unsloth_fixed",
    "unsloth_version",
];

/// Of any `config.json`, what changes the numbers of some network or other.
const ANY_NETWORK: &[(&str, Neutral)] = &[
    ("quantization_config", Absent),
    ("compression_config", Absent),
    ("pruned_heads", Off),
    ("add_cross_attention", Off),
    ("is_causal", On),
    ("use_parallel_residual", Off),
    ("parallel_attn", Off),
    ("alibi", Off),
    ("attn_logit_softcapping", Absent),
    ("final_logit_softcapping", Absent),
    ("logit_softcap", Absent),
    ("logit_scale", One),
    ("logits_scaling", One),
    ("embedding_multiplier", One),
    ("residual_multiplier", One),
    ("lm_head_multiplier", One),
    ("attention_multiplier", Absent),
    ("attention_scale", Absent),
    ("query_pre_attn_scalar", Absent),
    ("scale_emb", One),
    ("scale_depth", Absent),
    ("dim_model_base", Absent),
    ("scale_embedding", Off),
    ("clip_qkv", Absent),
    ("qk_norm", Off),
    ("use_qk_norm", Off),
    ("qk_layernorm", Off),
    ("qkv_bias", Off),
    ("bias", Off),
    ("use_bias", Off),
    ("num_experts", ZeroOrOne),
    ("num_local_experts", ZeroOrOne),
    ("n_routed_experts", ZeroOrOne),
    ("attention_chunk_size", Absent),
    ("no_rope_layers", Off),
    ("no_rope_layer_interval", Absent),
    ("partial_rotary_factor", One),
    ("rotary_pct", One),
    ("rotary_dim", Absent),
    ("rope_interleaved", Off),
    ("rope_local_base_freq", Absent),
    (
        "layer_types",
        // Where a window is short, the texts that are judged are, too.
        Texts(&["full_attention", "sliding_attention"]),
    ),
];

/// Of the `config.json` of a GPT-2.
pub(crate) const GPT2: ConfigKeys = ConfigKeys {
    known: &[
        LIBRARY,
        &[
            "vocab_size",
            "n_positions",
            "n_ctx",
            "n_embd",
            "n_layer",
            "n_head",
            "n_inner",
            "layer_norm_epsilon",
            "activation_function",
            "tie_word_embeddings",
            "scale_attn_weights",
            "scale_attn_by_inverse_layer_idx",
            // The same sums in float32, which is what judges compute in.
            "reorder_and_upcast_attn",
            "resid_pdrop",
            "embd_pdrop",
            "attn_pdrop",
            "n_special",
            "predict_special_tokens",
        ],
    ],
    known_starts: &["summary_"],
    unsupported: &[ANY_NETWORK],
};

/// Of the `config.json` of a Llama.
pub(crate) const LLAMA: ConfigKeys = ConfigKeys {
    known: &[
        LIBRARY,
        &[
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "max_position_embeddings",
            "original_max_position_embeddings",
            "rms_norm_eps",
            "rope_theta",
            "rope_parameters",
            "rope_scaling",
            "tie_word_embeddings",
            "attention_bias",
            "mlp_bias",
            "hidden_act",
            "sliding_window",
            "use_sliding_window",
            "max_window_layers",
            "is_llama_config",
        ],
    ],
    known_starts: &[],
    unsupported: &[ANY_NETWORK],
};

/// Of rotary frequencies in a `config.json`.
pub(crate) const ROPE: ConfigKeys = ConfigKeys {
    known: &[&[
        "rope_theta",
        "rope_type",
        "type",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
        "finetuned",
    ]],
    known_starts: &[],
    unsupported: &[&[
        ("partial_rotary_factor", One),
        ("attn_factor", One),
        ("extrapolation_factor", One),
        ("short_factor", Absent),
        ("long_factor", Absent),
        ("alpha", Absent),
        ("mrope_section", Absent),
        ("mrope_interleaved", Off),
        ("full_attention", Absent),
        ("sliding_attention", Absent),
        ("llama_4_scaling_beta", Zero),
    ]],
};

/// Of the header of a GGUF file of a Llama, behind `llama.`.
pub(crate) const GGUF_LLAMA: ConfigKeys = ConfigKeys {
    known: &[&[
        "vocab_size",
        "context_length",
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "tensor_data_layout",
        "pooling_type",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.layer_norm_rms_epsilon",
        "attention.layer_norm_epsilon",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scaling.attn_factor",
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
    ]],
    known_starts: &[],
    unsupported: &[&[
        ("expert_count", ZeroOrOne),
        ("expert_used_count", ZeroOrOne),
        ("use_parallel_residual", Off),
        ("logit_scale", ZeroOrOne),
        ("residual_scale", ZeroOrOne),
        ("embedding_scale", ZeroOrOne),
        ("attn_logit_softcapping", Zero),
        ("final_logit_softcapping", Zero),
        ("attention.causal", On),
        ("attention.scale", Zero),
        ("attention.clamp_kqv", Zero),
        ("attention.max_alibi_bias", Zero),
        ("attention.temperature_scale", Zero),
        ("rope.dimension_sections", Absent),
        ("rope.scaling.yarn_log_multiplier", Zero),
        ("rope.scaling.yarn_ext_factor", One),
        ("rope.scaling.yarn_attn_factor", One),
    ]],
};

/// Of any GGUF file.
pub(crate) const GGUF: ConfigKeys = ConfigKeys {
    known: &[&["split.no", "split.tensors.count"]],
    known_starts: &["general.", "tokenizer.", "quantize."],
    unsupported: &[&[("split.count", ZeroOrOne)]],
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEYS: ConfigKeys = ConfigKeys {
        known: &[&["width"]],
        known_starts: &["general."],
        unsupported: &[&[
            ("bias", Off),
            ("causal", On),
            ("scale", One),
            ("cap", Zero),
            ("kinds", Texts(&["a", "b"])),
            ("gone", Absent),
        ]],
    };

    fn unknown(entries: &Value) -> Result<Vec<String>, String> {
        let entries = entries.as_object().unwrap();
        let result = KEYS.unknown("x.", entries);
        result.map_err(|error| error.to_string())
    }

    #[test]
    fn what_changes_nothing_passes_and_what_is_unknown_is_listed() {
        let entries = json!({
            "width": 3, "general.name": "n", "bias": false, "causal": true, "scale": [1.0, 1], "cap": 0,
            "kinds": ["a", "b"], "gone": null, "novel": 1, "other": null, "another": false,
        });
        assert_eq!(unknown(&entries).unwrap(), ["x.another", "x.novel"]);
        assert_eq!(
            unknown(&json!({ "kinds": "b", "bias": [] })).unwrap(),
            [""; 0]
        );
    }

    #[test]
    fn what_changes_the_numbers_is_refused_by_name() {
        for (entries, found, wanted) in [
            (json!({ "bias": true }), "`x.bias` is `true`", "`false`"),
            (json!({ "bias": [1] }), "`x.bias` is `[1]`", "`false`"),
            (
                json!({ "causal": false }),
                "`x.causal` is `false`",
                "`true`",
            ),
            (json!({ "scale": 0.5 }), "`x.scale` is `0.5`", "`1`"),
            (json!({ "cap": [0, 30] }), "`x.cap` is `[0,30]`", "`0`"),
            (
                json!({ "kinds": ["a", "c"] }),
                "`x.kinds` is `[\"a\",\"c\"]`",
                "`a`",
            ),
            (json!({ "gone": "it" }), "`x.gone` is `it`", "`null`"),
        ] {
            let error = unknown(&entries).unwrap_err();
            let expected = format!("{found}, only {wanted} is supported; take another judge");
            assert_eq!(error, expected);
        }
        let long = "m".repeat(100);
        let error = unknown(&json!({ "gone": long })).unwrap_err();
        assert!(
            error.contains(&format!("`{}...`", "m".repeat(40))),
            "{error}"
        );
    }
}
