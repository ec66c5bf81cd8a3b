//! Files with weights as other people's code writes them, and files that hold none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use pgm_weights::{GgufFile, WeightsChoice, WeightsFile, WeightsFormat, WeightsSource, save};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// A file of a judge among the golden values of `pgm-judges`.
fn judge(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../pgm-judges/tests/golden")
        .join(name)
}

/// The bytes of the network in a file, in the published layout.
fn network_of(file: &WeightsFile, n_heads: usize) -> Vec<u8> {
    let config = file.config(Some(n_heads)).expect("sizes");
    let model = file.load(Some(n_heads), &Device::flex()).expect("weights");
    let written = tempfile::NamedTempFile::new().expect("a temporary file");
    save(&model, &config, WeightsFormat::Published, written.path()).expect("published names");
    std::fs::read(written.path()).expect("a file")
}

#[test]
fn a_checkpoint_of_other_training_code_is_the_same_network() {
    for choice in [WeightsChoice::Raw, WeightsChoice::Average] {
        let open = |name| WeightsFile::open(golden(name), choice).expect("weights");
        let (wrapped, plain) = (open("checkpoint_wrapped.pt"), open("checkpoint_mdlm.ckpt"));
        assert_ne!(wrapped.source(), WeightsSource::Only);
        assert_eq!(wrapped.source(), plain.source());
        assert!(wrapped.is_published());
        assert!(
            network_of(&wrapped, 2) == network_of(&plain, 2),
            "{choice:?}"
        );
    }
}

/// Rewrites a safetensors file with other names and further tensors.
fn rewrite(
    original: &[u8],
    name_of: impl Fn(&str) -> String,
    more: &[(&str, Dtype, usize)],
) -> tempfile::NamedTempFile {
    let file = SafeTensors::deserialize(original).expect("safetensors");
    let zeros = [0; 64];
    let mut tensors: BTreeMap<String, TensorView<'_>> = BTreeMap::new();
    for (name, view) in file.iter() {
        tensors.insert(name_of(name), view);
    }
    for (name, dtype, n_bytes) in more {
        let shape = vec![n_bytes * 8 / dtype.bitsize()];
        let view = TensorView::new(*dtype, shape, &zeros[..*n_bytes]).expect("a tensor");
        tensors.insert((*name).to_owned(), view);
    }
    let written = tempfile::NamedTempFile::new().expect("a temporary file");
    safetensors::serialize_to_file(tensors, None, written.path()).expect("a file");
    written
}

#[test]
fn prefixes_of_wrappers_are_taken_off_in_any_nesting() {
    let path = golden("weights_mdlm_n025.safetensors");
    let original = std::fs::read(&path).expect("a file");
    let open = |path: &Path| WeightsFile::open(path, WeightsChoice::Raw).expect("weights");
    let plain = network_of(&open(&path), 4);
    for prefix in [
        "_orig_mod.",
        "module.",
        "model.",
        "backbone._orig_mod.",
        "module.model.backbone.",
        "_forward_module._orig_mod.module.net.",
    ] {
        let renamed = |name: &str| format!("{prefix}{name}");
        let file = rewrite(&original, renamed, &[]);
        assert!(network_of(&open(file.path()), 4) == plain, "{prefix}");
    }
    // A name that no wrapper has is told.
    let file = rewrite(&original, |name| format!("student.{name}"), &[]);
    let error = open(file.path()).config(None).unwrap_err().to_string();
    let wanted = "tensors: `student.blocks.0.adaLN_modulation.bias`";
    assert!(
        error.contains("but 51 ") && error.contains(wanted),
        "{error}"
    );
}

#[test]
fn tensors_that_nobody_needs_may_be_of_any_type() {
    let path = golden("weights_mdlm_n025.safetensors");
    let original = std::fs::read(&path).expect("a file");
    let open = |path: &Path| WeightsFile::open(path, WeightsChoice::Raw).expect("weights");
    let plain = network_of(&open(&path), 4);
    let in_backbone = |name: &str| format!("backbone.{name}");
    let more = [
        ("teacher.scale", Dtype::F8_E4M3, 8),
        ("backbone.mask", Dtype::BOOL, 8),
        ("backbone.n_batches", Dtype::I16, 2),
        ("backbone.rotary_emb.inv_freq", Dtype::U8, 8),
    ];
    let file = rewrite(&original, in_backbone, &more);
    assert!(network_of(&open(file.path()), 4) == plain);
    // Floats without a place are of another network.
    let file = rewrite(
        &original,
        in_backbone,
        &[("backbone.extra", Dtype::F8_E4M3, 8)],
    );
    let error = open(file.path())
        .load(Some(4), &Device::flex())
        .unwrap_err();
    let error = error.to_string();
    assert!(error.ends_with("1 unexpected: `extra`"), "{error}");
    // A parameter of another type is quantised.
    let renamed = |name: &str| match name {
        "output_layer.linear.bias" => "other".to_owned(),
        name => name.to_owned(),
    };
    for (dtype, kind) in [
        (Dtype::I8, "I8"),
        (Dtype::BOOL, "BOOL"),
        (Dtype::F8_E5M2, "F8_E5M2"),
    ] {
        let file = rewrite(
            &original,
            renamed,
            &[("output_layer.linear.bias", dtype, 8)],
        );
        let error = open(file.path())
            .load(Some(4), &Device::flex())
            .unwrap_err();
        let wanted =
            format!("`output_layer.linear.bias` has type {kind}, wanted F64, F32, F16 or BF16");
        assert!(error.to_string().contains(&wanted), "{error}");
    }
}

#[test]
fn what_holds_no_weights_is_named_wherever_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n";
    for (text, wanted) in [
        (
            pointer,
            "it is a Git LFS pointer, which stands for a file of 1234 bytes",
        ),
        ("<!doctype html>\n<title>Log in</title>", "it is a web page"),
        ("", "it is empty"),
        (
            "just some text",
            "it is text that begins with `just some text`",
        ),
    ] {
        for name in ["w.safetensors", "w.ckpt", "w.gguf"] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            let error = WeightsFile::open(&path, WeightsChoice::Raw).unwrap_err();
            let error = error.to_string();
            let start = format!("cannot read weights from `{}`: {wanted}", path.display());
            assert!(error.starts_with(&start), "{error}");
            let error = GgufFile::open(&path).unwrap_err().to_string();
            assert!(error.starts_with(&start), "{error}");
        }
        let index = folder.path().join("model.safetensors.index.json");
        std::fs::write(&index, r#"{"weight_map": {"a": "w.safetensors"}}"#).expect("a file");
        let error = WeightsFile::open(&index, WeightsChoice::Raw).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("w.safetensors`: ") && error.contains(wanted),
            "{error}"
        );
    }
}

#[test]
fn a_gguf_of_another_network_is_named_by_its_architecture() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    let original = std::fs::read(judge("llama_gguf/model.gguf")).expect("a file");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("a file");
        let errors = [
            GgufFile::open(&path).unwrap_err(),
            WeightsFile::open(&path, WeightsChoice::Raw).unwrap_err(),
        ];
        let [one, other] = errors.map(|error| error.to_string());
        assert_eq!(one, other);
        one
    };
    let at = |text: &[u8]| {
        original
            .windows(text.len())
            .position(|window| window == text)
    };
    let mut qwen = original.clone();
    let start = at(b"\x05\0\0\0\0\0\0\0llama").expect("the architecture") + 8;
    qwen[start..start + 5].copy_from_slice(b"qwen2");
    // A type of tensor that is not read is no second reason.
    let end = at(b"output_norm.weight").expect("a tensor") + "output_norm.weight".len();
    let kind = end + 4 + 8;
    qwen[kind..kind + 4].copy_from_slice(&12u32.to_le_bytes());
    let error = refused(&qwen);
    let wanted =
        "it is a GGUF file of the architecture `qwen2`, wanted `llama`; take another model";
    assert!(error.ends_with(wanted), "{error}");
    let mut quantised = original.clone();
    quantised[kind..kind + 4].copy_from_slice(&12u32.to_le_bytes());
    let error = refused(&quantised);
    assert!(
        error.contains("`output_norm.weight` has GGML type 12"),
        "{error}"
    );
    let mut swapped = original.clone();
    swapped[4..8].reverse();
    let error = refused(&swapped);
    assert!(
        error.contains("it is a big-endian GGUF file (version 3)"),
        "{error}"
    );
    // As a network of this program, it says what it has.
    let file = WeightsFile::open(judge("llama_gguf/model.gguf"), WeightsChoice::Raw);
    let error = file.expect("weights").config(None).unwrap_err().to_string();
    assert!(error.contains("but 20 tensors: `model."), "{error}");
}
