//! Agreement of the judges with `transformers` (see `golden/make_judges.py`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use pgm_model::judges::{JudgeConfig, JudgeModel};
use pgm_model::weights::{GgufFile, WeightsChoice, WeightsFile};
use safetensors::SafeTensors;

const TOLERANCE: f32 = 1e-4;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/judges")
        .join(name)
}

fn config(name: &str) -> JudgeConfig {
    let text = std::fs::read_to_string(folder(name).join("config.json")).expect("config.json");
    JudgeConfig::from_json(&text).expect("a configuration")
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
    for name in ["gpt2", "llama", "llama_tied", "llama3"] {
        let weights = weights(&folder(name).join("model.safetensors"));
        let model = config(name).load(&weights, &device).expect(name);
        assert_agrees(&model, name, &device);
    }
}

#[test]
fn logits_of_quantised_weights_are_those_of_transformers() {
    let device = Device::flex();
    let path = folder("llama_gguf").join("model.gguf");
    let file = GgufFile::open(&path).expect("a file");
    let config = JudgeConfig::from_gguf(&file).expect("a configuration");
    assert_eq!((config.vocab_size(), config.context_length()), (300, 64));
    let model = config.load(&weights(&path), &device).expect("a model");
    assert_agrees(&model, "llama_gguf", &device);
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
