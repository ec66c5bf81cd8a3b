use pgm_weights::{GgufFile, GgufValue, other_text};
use serde_json::{Map, Value};

use crate::config_keys::{self, ConfigKeys};
use crate::error::JudgeConfigError;
use crate::judge_config::JudgeConfig;
use crate::llama::LlamaConfig;
use crate::rope_parameters::RopeParameters;
use crate::rope_scaling::RopeScaling;

/// What a file says of a judge.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeDescription {
    /// The network.
    pub config: JudgeConfig,
    /// Keys of the file that mean nothing here. Those that are known to change the numbers are refused, so these are
    /// worth a word to whoever trusts the numbers.
    pub unknown_keys: Vec<String>,
}

impl JudgeDescription {
    /// Reads the text of a `config.json` of the `transformers` library.
    ///
    /// # Errors
    /// When it is no JSON, describes another network or a variant that is not there, or its sizes make none.
    pub fn from_json(text: &str) -> Result<Self, JudgeConfigError> {
        if let Some(what) = other_text(text) {
            return Err(JudgeConfigError::OtherFile(what));
        }
        let text = text.trim_start_matches('\u{feff}');
        let value: Value = serde_json::from_str(text).map_err(JudgeConfigError::Json)?;
        let family = value.get("model_type").and_then(Value::as_str);
        let keys = match family {
            Some("gpt2") => &config_keys::GPT2,
            Some("llama") => &config_keys::LLAMA,
            other => {
                return Err(JudgeConfigError::Family {
                    found: other.unwrap_or("missing").to_owned(),
                });
            }
        };
        let unknown_keys = unknown_in_json(keys, &value)?;
        let config = match family {
            Some("gpt2") => serde_json::from_value(value).map(JudgeConfig::Gpt2),
            _ => serde_json::from_value(value).map(JudgeConfig::Llama),
        };
        let config = config.map_err(JudgeConfigError::Json)?;
        config.validate()?;
        Ok(Self {
            config,
            unknown_keys,
        })
    }

    /// Reads the header of a GGUF file, which is one of a Llama.
    ///
    /// # Errors
    /// When an entry is missing, the network is a variant that is not there, or its sizes make none.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, JudgeConfigError> {
        let header = Header(file);
        let unknown_keys = unknown_in_gguf(file)?;
        let n_heads = header.size("attention.head_count")?;
        let config = LlamaConfig {
            vocab_size: file
                .rows_of("model.embed_tokens.weight")
                .ok_or_else(|| missing("token_embd.weight"))?,
            hidden_size: header.size("embedding_length")?,
            intermediate_size: header.size("feed_forward_length")?,
            num_hidden_layers: header.size("block_count")?,
            num_attention_heads: n_heads,
            num_key_value_heads: header.optional_size("attention.head_count_kv")?,
            head_dim: header.optional_size("attention.key_length")?,
            max_position_embeddings: header.size("context_length")?,
            rms_norm_eps: header
                .number("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| missing("llama.attention.layer_norm_rms_epsilon"))?,
            rope_theta: header.number("rope.freq_base")?,
            rope_parameters: None,
            rope_scaling: header.rope_scaling()?,
            original_max_position_embeddings: None,
            rope_divisors: header.rope_divisors()?,
            sliding_window: header.optional_size("attention.sliding_window")?,
            use_sliding_window: None,
            tie_word_embeddings: file.rows_of("lm_head.weight").is_none(),
            attention_bias: false,
            mlp_bias: false,
            hidden_act: "silu".to_owned(),
        };
        config.validate()?;
        for key in ["rope.dimension_count", "attention.value_length"] {
            let found = header.optional_size(key)?.unwrap_or(config.head_dim());
            if found != config.head_dim() {
                return Err(JudgeConfigError::HeadWidth {
                    name: format!("{ARCHITECTURE}{key}"),
                    found,
                    wanted: config.head_dim(),
                });
            }
        }
        Ok(Self {
            config: JudgeConfig::Llama(config),
            unknown_keys,
        })
    }
}

/// Unknown keys of a `config.json` and of its rotary parameters.
fn unknown_in_json(keys: &ConfigKeys, value: &Value) -> Result<Vec<String>, JudgeConfigError> {
    let none = Map::new();
    let mut unknown = keys.unknown("", value.as_object().unwrap_or(&none))?;
    for rope in ["rope_scaling", "rope_parameters"] {
        if let Some(Value::Object(entries)) = value.get(rope) {
            unknown.extend(config_keys::ROPE.unknown(&format!("{rope}."), entries)?);
        }
    }
    Ok(unknown)
}

fn unknown_in_gguf(file: &GgufFile) -> Result<Vec<String>, JudgeConfigError> {
    let (mut own, mut others) = (Map::new(), Map::new());
    for (key, value) in file.entries() {
        match key.strip_prefix(ARCHITECTURE) {
            Some(key) => own.insert(key.to_owned(), json(value)),
            None => others.insert(key.to_owned(), json(value)),
        };
    }
    let mut unknown = config_keys::GGUF_LLAMA.unknown(ARCHITECTURE, &own)?;
    unknown.extend(config_keys::GGUF.unknown("", &others)?);
    Ok(unknown)
}

/// In front of the keys of a Llama.
const ARCHITECTURE: &str = "llama.";

fn missing(key: &str) -> JudgeConfigError {
    JudgeConfigError::MissingKey {
        key: key.to_owned(),
    }
}

/// A value as JSON; a number that is none becomes null there.
fn json(value: &GgufValue) -> Value {
    match value {
        GgufValue::Integer(value) => i64::try_from(*value).map_or(Value::Null, Value::from),
        GgufValue::Float(value) => Value::from(*value),
        GgufValue::Bool(value) => Value::from(*value),
        GgufValue::Text(text) => Value::from(text.as_str()),
        // Lists of settings are as long as the network has layers; those of a tokenizer are not looked at.
        GgufValue::Array(values) => values.iter().take(1024).map(json).collect(),
    }
}

/// The entries of a Llama in the header of a file, by their name behind `llama.`.
struct Header<'a>(&'a GgufFile);

impl Header<'_> {
    fn size(&self, key: &str) -> Result<usize, JudgeConfigError> {
        let size = self.optional_size(key)?;
        size.ok_or_else(|| missing(&format!("{ARCHITECTURE}{key}")))
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>, JudgeConfigError> {
        let key = format!("{ARCHITECTURE}{key}");
        match (self.0.value(&key), self.0.size(&key)) {
            (Some(_), None) => Err(missing(&key)),
            (_, size) => Ok(size),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, JudgeConfigError> {
        let key = format!("{ARCHITECTURE}{key}");
        match (self.0.value(&key), self.0.number(&key)) {
            (Some(_), None) => Err(missing(&key)),
            (_, number) => Ok(number),
        }
    }

    /// What llama.cpp does to the rotary frequencies of such a file.
    fn rope_scaling(&self) -> Result<Option<RopeParameters>, JudgeConfigError> {
        let key = format!("{ARCHITECTURE}rope.scaling.type");
        let kind = match (self.0.value(&key), self.0.text(&key)) {
            (Some(_), None) => return Err(missing(&key)),
            // Older files have the factor alone.
            (_, kind) => kind.unwrap_or("linear"),
        };
        let factor = match self.number("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.number("rope.scale_linear")?,
        };
        // 0 stands for a factor that was not set.
        let factor = factor.filter(|factor| *factor != 0.0).unwrap_or(1.0);
        let attention = self.number("rope.scaling.attn_factor")?.unwrap_or(1.0);
        if kind != "yarn" && attention != 1.0 {
            return Err(JudgeConfigError::Variant {
                name: format!("{ARCHITECTURE}rope.scaling.attn_factor"),
                found: attention.to_string(),
                wanted: "1",
            });
        }
        let rope = RopeParameters {
            rope_type: Some(kind.to_owned()),
            factor: Some(factor),
            ..RopeParameters::default()
        };
        match kind {
            "none" => Ok(None),
            "linear" => Ok(Some(rope)),
            "yarn" => Ok(Some(RopeParameters {
                original_max_position_embeddings: self
                    .optional_size("rope.scaling.original_context_length")?
                    .filter(|length| *length > 0),
                // llama.cpp multiplies YaRN's own factor by that of the file, where `transformers` replaces it.
                attention_factor: Some(attention * RopeScaling::yarn_amplitude(factor, 1.0)),
                beta_fast: self.number("rope.scaling.yarn_beta_fast")?,
                beta_slow: self.number("rope.scaling.yarn_beta_slow")?,
                ..rope
            })),
            other => Err(JudgeConfigError::Variant {
                name: key,
                found: other.to_owned(),
                wanted: "none`, `linear` or `yarn",
            }),
        }
    }

    /// The frequencies of Llama 3.1, as a tensor of what the plain ones are divided by.
    fn rope_divisors(&self) -> Result<Option<Vec<f64>>, JudgeConfigError> {
        let values = self.0.values_of("rope_freqs.weight");
        let values = values.map_err(JudgeConfigError::Divisors)?;
        Ok(values.map(|values| values.into_iter().map(f64::from).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA: &str = r#""model_type": "llama", "vocab_size": 9, "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2"#;

    fn llama(entries: &str) -> Result<JudgeDescription, JudgeConfigError> {
        JudgeDescription::from_json(&format!("{{{LLAMA}, {entries}}}"))
    }

    #[test]
    fn other_networks_are_refused_by_name() {
        for (text, wanted) in [
            ("{}", "`model_type` is `missing`, wanted `gpt2` or `llama`"),
            (
                r#"{"model_type": "gpt2", "n_embd": 10, "n_head": 3}"#,
                "`n_embd` 10 is not a multiple of `n_head` 3",
            ),
            (
                r#"{"model_type": "gpt2", "activation_function": "relu"}"#,
                "`activation_function` is `relu`, only `gelu_new` is supported; take another judge",
            ),
            (
                r#"{"model_type": "gpt2", "add_cross_attention": true}"#,
                "`add_cross_attention` is `true`, only `false` is supported; take another judge",
            ),
        ] {
            let error = JudgeDescription::from_json(text).unwrap_err();
            assert_eq!(error.to_string(), wanted);
        }
        let missing = JudgeDescription::from_json(r#"{"model_type": "llama"}"#).unwrap_err();
        assert!(
            missing.to_string().contains("missing field `vocab_size`"),
            "{missing}"
        );
        let page = JudgeDescription::from_json("<!DOCTYPE html>").unwrap_err();
        assert!(page.to_string().starts_with("it is a web page"), "{page}");
    }

    #[test]
    fn what_changes_the_numbers_of_a_llama_is_read_or_refused() {
        for (entries, wanted) in [
            (
                r#""rope_scaling": {"type": "dynamic", "factor": 2.0}"#,
                "`rope_type` is `dynamic`, only `default`, `linear`, `llama3` or `yarn` is supported",
            ),
            (
                r#""rope_parameters": {"full_attention": {"rope_theta": 5.0}}"#,
                "`rope_parameters.full_attention` is `{\"rope_theta\":5.0}`, only `null` is supported",
            ),
            (
                r#""partial_rotary_factor": 0.5"#,
                "`partial_rotary_factor` is `0.5`, only `1` is supported",
            ),
            (
                r#""rope_scaling": {"partial_rotary_factor": 0.5}"#,
                "`rope_scaling.partial_rotary_factor` is `0.5`, only `1` is supported",
            ),
            (
                r#""residual_multiplier": 0.22"#,
                "`residual_multiplier` is `0.22`, only `1` is supported",
            ),
            (
                r#""quantization_config": {"quant_method": "gptq"}"#,
                "`quantization_config` is `{\"quant_method\":\"gptq\"}`, only `null` is supported",
            ),
            (
                r#""layer_types": ["full_attention", "chunked_attention"]"#,
                "only `full_attention` is supported",
            ),
            (
                r#""attention_bias": true"#,
                "`attention_bias` is `true`, only `false` is supported",
            ),
        ] {
            let error = llama(entries).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let window = llama(r#""sliding_window": 64"#).unwrap();
        assert_eq!(window.config.context_length(), 64);
        assert!(window.unknown_keys.is_empty());
    }

    #[test]
    fn unknown_keys_are_listed() {
        let description = llama(
            r#""torch_dtype": "float16", "partial_rotary_factor": 1.0, "novel_scale": 3, "absent": null,
            "rope_scaling": {"type": "linear", "factor": 2.0, "finetuned": true, "twist": 1}"#,
        );
        let wanted = ["novel_scale", "rope_scaling.twist"];
        assert_eq!(description.unwrap().unknown_keys, wanted);
        let text =
            r#"{"model_type": "gpt2", "summary_type": "cls_index", "n_ctx": 1024, "rotary": true}"#;
        let description = JudgeDescription::from_json(text).unwrap();
        assert_eq!(description.unknown_keys, ["rotary"]);
    }

    #[test]
    fn sizes_that_are_left_out_are_gpt2_small() {
        let text = "\u{feff}{\"model_type\": \"gpt2\", \"n_layer\": 36}";
        let config = JudgeDescription::from_json(text).unwrap().config;
        assert_eq!(
            (config.vocab_size(), config.context_length()),
            (50_257, 1024)
        );
    }
}
