//! Agreement of the judges with `transformers` (see `golden/make_judges.py`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use pgm_judges::{JudgeConfig, JudgeDescription, JudgeModel};
use pgm_weights::{GgufFile, WeightsChoice, WeightsFile};
use safetensors::SafeTensors;

const TOLERANCE: f32 = 1e-4;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn config(name: &str) -> JudgeConfig {
    let text = std::fs::read_to_string(folder(name).join("config.json")).expect("config.json");
    let description = JudgeDescription::from_json(&text).expect("a configuration");
    assert_eq!(description.unknown_keys, [""; 0], "{name}");
    description.config
}

fn weights(path: &Path) -> WeightsFile {
    WeightsFile::open(path, WeightsChoice::default()).expect("weights")
}

/// Tokens and the logits of `transformers`.
fn expected(name: &str, device: &Device) -> (Tensor<2, Int>, Tensor<3>) {
    let bytes = std::fs::read(folder(name).join("expected.safetensors")).expect("values");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tokens = file.tensor("tokens").expect("tokens");
    let tokens: Vec<i64> = tokens
        .data()
        .chunks_exact(8)
        .map(|bytes| i64::from_le_bytes(bytes.try_into().expect("8 bytes")))
        .collect();
    let logits = file.tensor("logits").expect("logits");
    let logits: Vec<f32> = logits
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes")))
        .collect();
    (
        Tensor::from_data(TensorData::new(tokens, [2, 24]), device),
        Tensor::from_data(TensorData::new(logits, [2, 24, 300]), device),
    )
}

fn assert_agrees(model: &JudgeModel, name: &str, device: &Device) {
    let (tokens, expected) = expected(name, device);
    let logits = model.forward(tokens);
    let difference = (logits - expected.clone()).abs().max().into_scalar::<f32>();
    assert!(difference < TOLERANCE, "{name}: off by {difference:e}");
    let spread = expected.abs().max().into_scalar::<f32>();
    assert!(spread > 1.0, "{name}: the logits are too small to tell");
}

#[test]
fn logits_of_safetensors_are_those_of_transformers() {
    let device = Device::flex();
    for (name, weights_of) in [
        ("gpt2", "gpt2"),
        ("gpt2_scaled", "gpt2"),
        ("llama", "llama"),
        ("llama_tied", "llama_tied"),
        ("llama_linear", "llama_tied"),
        ("llama_yarn", "llama_tied"),
        ("llama_yarn_options", "llama_tied"),
        ("llama3", "llama3"),
    ] {
        let weights = weights(&folder(weights_of).join("model.safetensors"));
        let model = config(name).load(&weights, &device).expect(name);
        assert_agrees(&model, name, &device);
    }
}

#[test]
fn older_files_have_the_same_frequencies_under_other_names() {
    let device = Device::flex();
    let weights = weights(&folder("llama_tied").join("model.safetensors"));
    for name in ["llama_linear", "llama_yarn", "llama_yarn_options"] {
        let text = std::fs::read_to_string(folder(name).join("config.json")).expect("config.json");
        let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let object = value.as_object_mut().expect("an object");
        let mut rope = object.remove("rope_parameters").expect("frequencies");
        let entries = rope.as_object_mut().expect("an object");
        object.insert(
            "rope_theta".into(),
            entries.remove("rope_theta").expect("a base"),
        );
        let kind = entries.remove("rope_type").expect("a type");
        entries.insert("type".into(), kind);
        object.insert("rope_scaling".into(), rope);
        let older = JudgeDescription::from_json(&value.to_string()).expect("a configuration");
        let model = older.config.load(&weights, &device).expect(name);
        assert_agrees(&model, name, &device);
    }
}

#[test]
fn logits_of_quantised_weights_are_those_of_transformers() {
    let device = Device::flex();
    let path = folder("llama_gguf").join("model.gguf");
    let file = GgufFile::open(&path).expect("a file");
    let description = JudgeDescription::from_gguf(&file).expect("a configuration");
    assert_eq!(description.unknown_keys, [""; 0]);
    let config = description.config;
    assert_eq!((config.vocab_size(), config.context_length()), (300, 64));
    let model = config.load(&weights(&path), &device).expect("a model");
    assert_agrees(&model, "llama_gguf", &device);
}

/// An entry of a GGUF header, with the number of its type.
enum Entry {
    Float(f32),
    Size(u32),
    Text(&'static str),
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// The file of `llama_gguf` with further entries in its header.
fn gguf_with(folder: &Path, entries: &[(&str, Entry)]) -> PathBuf {
    let original = std::fs::read(self::folder("llama_gguf").join("model.gguf")).expect("a file");
    let number_at = |at: usize| u64::from_le_bytes(original[at..at + 8].try_into().expect("8"));
    let mut added: Vec<u8> = Vec::new();
    for (key, value) in entries {
        added.extend(text(key));
        let (kind, value) = match value {
            Entry::Size(value) => (4u32, value.to_le_bytes().to_vec()),
            Entry::Float(value) => (6, value.to_le_bytes().to_vec()),
            Entry::Text(value) => (8, text(value)),
        };
        added.extend(kind.to_le_bytes());
        added.extend(value);
    }
    // Weights begin at a multiple of 32, and so they shall.
    let (filler, kind) = (text("general.filler"), 8u32.to_le_bytes());
    let n_bytes = added.len() + filler.len() + kind.len() + 8;
    let fill = " ".repeat(n_bytes.next_multiple_of(32) - n_bytes);
    added.extend([filler, kind.to_vec(), text(&fill)].concat());
    // Magic number, version, numbers of tensors and of entries, the entries.
    let n_entries = number_at(16) + entries.len() as u64 + 1;
    let bytes = [
        &original[..16],
        &n_entries.to_le_bytes(),
        &added,
        &original[24..],
    ]
    .concat();
    let path = folder.join("model.gguf");
    std::fs::write(&path, bytes).expect("a file");
    path
}

#[test]
fn frequencies_of_a_gguf_file_are_those_of_transformers() {
    use Entry::{Float, Size, Text};
    let device = Device::flex();
    let folder = tempfile::tempdir().expect("a folder");
    let yarn = |more| {
        let mut entries = vec![
            ("llama.rope.scaling.type", Text("yarn")),
            ("llama.rope.scaling.factor", Float(4.0)),
            ("llama.rope.scaling.original_context_length", Size(16)),
            ("llama.rope.scaling.finetuned", Size(1)),
            ("llama.rope.dimension_count", Size(8)),
        ];
        entries.extend(more);
        entries
    };
    for (name, entries) in [
        (
            "llama_gguf",
            vec![("llama.rope.scaling.type", Text("none"))],
        ),
        ("llama_gguf", vec![("llama.rope.scale_linear", Float(0.0))]),
        (
            "llama_gguf_linear",
            vec![
                ("llama.rope.scaling.type", Text("linear")),
                ("llama.rope.scaling.factor", Float(4.0)),
            ],
        ),
        (
            "llama_gguf_linear",
            vec![("llama.rope.scale_linear", Float(4.0))],
        ),
        ("llama_gguf_yarn", yarn(vec![])),
        (
            "llama_gguf_yarn",
            yarn(vec![
                ("llama.rope.scaling.yarn_beta_fast", Float(32.0)),
                ("llama.rope.scaling.yarn_beta_slow", Float(1.0)),
                ("llama.rope.scaling.attn_factor", Float(1.0)),
                ("llama.rope.scaling.yarn_log_multiplier", Float(0.0)),
            ]),
        ),
    ] {
        let path = gguf_with(folder.path(), &entries);
        let file = GgufFile::open(&path).expect("a file");
        let description = JudgeDescription::from_gguf(&file).expect("a configuration");
        assert_eq!(description.unknown_keys, [""; 0]);
        let model = description.config.load(&weights(&path), &device);
        assert_agrees(&model.expect("a model"), name, &device);
    }
    let path = self::folder("llama3_gguf").join("model.gguf");
    let file = GgufFile::open(&path).expect("a file");
    let description = JudgeDescription::from_gguf(&file).expect("a configuration");
    let model = description.config.load(&weights(&path), &device);
    assert_agrees(&model.expect("a model"), "llama3_gguf", &device);
}

#[test]
fn what_changes_the_numbers_of_a_gguf_file_is_refused_and_the_unknown_listed() {
    use Entry::{Float, Size, Text};
    let folder = tempfile::tempdir().expect("a folder");
    let describe = |entries: &[(&str, Entry)]| {
        let file = GgufFile::open(gguf_with(folder.path(), entries)).expect("a file");
        JudgeDescription::from_gguf(&file)
    };
    for (key, value, wanted) in [
        (
            "llama.rope.scaling.type",
            Text("longrope"),
            "`llama.rope.scaling.type` is `longrope`, only `none`, `linear` or `yarn` is supported",
        ),
        (
            "llama.rope.scaling.attn_factor",
            Float(0.5),
            "`llama.rope.scaling.attn_factor` is `0.5`, only `1` is supported",
        ),
        (
            "llama.rope.dimension_count",
            Size(4),
            "`llama.rope.dimension_count` is 4, only the whole width of a head, 8, is supported",
        ),
        (
            "llama.attention.value_length",
            Size(16),
            "`llama.attention.value_length` is 16, only the whole width of a head, 8",
        ),
        (
            "llama.expert_count",
            Size(8),
            "`llama.expert_count` is `8`, only `1` is supported",
        ),
        (
            "llama.logit_scale",
            Float(0.25),
            "`llama.logit_scale` is `0.25`, only `1` is supported",
        ),
        (
            "llama.rope.scaling.yarn_ext_factor",
            Float(0.5),
            "`llama.rope.scaling.yarn_ext_factor` is `0.5`, only `1` is supported",
        ),
        (
            "split.count",
            Size(2),
            "`split.count` is `2`, only `1` is supported",
        ),
        (
            "llama.rope.scaling.factor",
            Text("4"),
            "no `llama.rope.scaling.factor` of the right type",
        ),
        (
            "llama.rope.scaling.factor",
            Float(-1.0),
            "`factor` is -1, it has to be above 0",
        ),
    ] {
        let error = describe(&[(key, value)])
            .expect_err("a refusal")
            .to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let description = describe(&[
        ("llama.attention.twist", Float(2.0)),
        ("tokenizer.ggml.model", Text("gpt2")),
        ("llama.attention.sliding_window", Size(16)),
        ("other.key", Text("x")),
    ]);
    let description = description.expect("a configuration");
    assert_eq!(
        description.unknown_keys,
        ["llama.attention.twist", "other.key"]
    );
    assert_eq!(description.config.context_length(), 16);
}

#[test]
fn masks_of_any_type_and_wrappers_around_a_judge_are_passed_over() {
    let device = Device::flex();
    let scratch = tempfile::tempdir().expect("a folder");
    let path = scratch.path().join("wrapped.safetensors");
    let mask = [1u8; 16];
    let mask = |dtype: safetensors::Dtype| {
        let shape = vec![16 * 8 / dtype.bitsize()];
        safetensors::tensor::TensorView::new(dtype, shape, &mask).expect("a tensor")
    };
    for (name, prefix) in [
        ("gpt2", "module."),
        ("llama", "model."),
        ("llama_tied", "_orig_mod."),
    ] {
        let bytes = std::fs::read(folder(name).join("model.safetensors")).expect("weights");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let named = |(tensor, view)| (format!("{prefix}{tensor}"), view);
        let mut tensors: HashMap<String, _> = file.iter().map(named).collect();
        let own = if name == "gpt2" {
            "transformer.h.0"
        } else {
            "model.layers.0"
        };
        for (end, dtype) in [
            ("attn.bias", safetensors::Dtype::BOOL),
            ("position_ids", safetensors::Dtype::I64),
            ("n_calls", safetensors::Dtype::I16),
        ] {
            tensors.insert(format!("{prefix}{own}.{end}"), mask(dtype));
        }
        safetensors::serialize_to_file(&tensors, None, &path).expect("a file");
        let model = config(name).load(&weights(&path), &device).expect(name);
        assert_agrees(&model, name, &device);
    }
}

#[test]
fn names_without_prefix_and_with_buffers_are_read() {
    let device = Device::flex();
    let bytes = std::fs::read(folder("gpt2").join("model.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut tensors: HashMap<String, _> = file
        .iter()
        .map(|(name, view)| (name.replacen("transformer.", "", 1), view))
        .collect();
    assert!(tensors.contains_key("h.0.attn.c_attn.weight"));
    // Old files hold the causal mask; any tensor stands for it.
    tensors.insert("h.0.attn.bias".into(), tensors["ln_f.bias"].clone());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bare.safetensors");
    safetensors::serialize_to_file(&tensors, None, &path).expect("a file");
    let model = config("gpt2")
        .load(&weights(&path), &device)
        .expect("a model");
    assert_agrees(&model, "gpt2", &device);

    tensors.remove("ln_f.bias");
    tensors.insert("extra".into(), tensors["h.0.attn.bias"].clone());
    safetensors::serialize_to_file(&tensors, None, &path).expect("a file");
    let error = config("gpt2")
        .load(&weights(&path), &device)
        .expect_err("a mismatch");
    let text = error.to_string();
    let wanted = "holds weights of another network: 1 missing: `ln_f.bias`; 1 unexpected: `extra`";
    assert!(text.ends_with(wanted), "{text}");
}

#[test]
fn nats_of_tokens_are_those_of_the_logits() {
    let device = Device::flex();
    for name in ["gpt2", "llama"] {
        let weights = weights(&folder(name).join("model.safetensors"));
        let model = config(name).load(&weights, &device).expect(name);
        let (tokens, logits) = expected(name, &device);
        let log_probs = burn::tensor::activation::log_softmax(logits, 2).narrow(1, 0, 23);
        let targets = tokens.clone().narrow(1, 1, 23).unsqueeze_dim::<3>(2);
        let wanted = -log_probs.gather(2, targets).squeeze_dim::<2>(2);
        let difference = (model.token_nll(tokens) - wanted).abs().max();
        let difference = difference.into_scalar::<f32>();
        assert!(difference < TOLERANCE, "{name}: off by {difference:e}");
    }
}

#[test]
fn weights_cut_into_several_files_are_read_as_one() {
    let device = Device::flex();
    let bytes = std::fs::read(folder("llama").join("model.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut names: Vec<&str> = file.names();
    names.sort_unstable();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let shards = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    let mut weight_map = serde_json::Map::new();
    for (shard, names) in shards.iter().zip(names.chunks(names.len().div_ceil(2))) {
        let tensors = names
            .iter()
            .map(|&name| (name, file.tensor(name).expect(name)));
        safetensors::serialize_to_file(tensors, None, &path(shard)).expect("a file");
        weight_map.extend(names.iter().map(|&name| (name.to_owned(), (*shard).into())));
    }
    let index = path("model.safetensors.index.json");
    let write_index = |weight_map: &serde_json::Map<String, serde_json::Value>| {
        let text = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": weight_map });
        std::fs::write(&index, text.to_string()).expect("a file");
    };
    write_index(&weight_map);
    let whole = weights(&index);
    assert_eq!(whole.files(), [path(shards[0]), path(shards[1])]);
    let model = config("llama").load(&whole, &device).expect("a model");
    assert_agrees(&model, "llama", &device);

    let refused = || {
        let error = WeightsFile::open(&index, WeightsChoice::default()).expect_err("an error");
        error.to_string()
    };
    let mut swapped = weight_map.clone();
    let shard = swapped.get_mut("model.norm.weight").expect("a tensor");
    let other = usize::from(*shard == shards[0]);
    *shard = shards[other].into();
    write_index(&swapped);
    let error = refused();
    let wanted = format!(
        "it has `model.norm.weight` in shard `{}`, which holds no such tensor",
        shards[other]
    );
    assert!(error.contains(&wanted), "{error}");
    write_index(&weight_map);
    std::fs::remove_file(path(shards[1])).expect("it is there");
    let error = refused();
    let wanted = format!(
        "model.safetensors.index.json`: its shard `{}` is not beside it",
        shards[1]
    );
    assert!(error.contains(&wanted), "{error}");
    std::fs::write(path(shards[1]), [0; 4]).expect("a file");
    let error = refused();
    assert!(
        error.contains("too short for safetensors") && error.contains(shards[1]),
        "{error}"
    );
}
