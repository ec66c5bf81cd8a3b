//! Checkpoints as PyTorch writes them, and files as this crate writes them (see
//! `golden/README.md`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::store::{BurnpackStore, ModuleSnapshot};
use burn::tensor::Device;
use pgm_model::{
    CausalDitConfig, DitConfig, LanguageModel, LanguageModelConfig, PartitionTransformerConfig,
    PreQuery, QueryProcessorKind,
};
use pgm_weights::{WeightsChoice, WeightsError, WeightsFile, WeightsFormat, WeightsSource, save};
use safetensors::SafeTensors;

/// Parameters of one block of an encoder, in their order.
const ENCODER_BLOCK: [&str; 10] = [
    "norm1.weight",
    "attn_qkv.weight",
    "attn_out.weight",
    "norm2.weight",
    "mlp.0.weight",
    "mlp.0.bias",
    "mlp.2.weight",
    "mlp.2.bias",
    "adaLN_modulation.weight",
    "adaLN_modulation.bias",
];
const DECODER_BLOCK: [&str; 12] = [
    "q_norm1.weight",
    "kv_norm1.weight",
    "norm2.weight",
    "attn_q.weight",
    "attn_kv.weight",
    "attn_out.weight",
    "mlp.0.weight",
    "mlp.0.bias",
    "mlp.2.weight",
    "mlp.2.bias",
    "adaLN_modulation.weight",
    "adaLN_modulation.bias",
];
const FIRST: [&str; 5] = [
    "vocab_embed.embedding",
    "sigma_map.mlp.0.weight",
    "sigma_map.mlp.0.bias",
    "sigma_map.mlp.2.weight",
    "sigma_map.mlp.2.bias",
];
const GROUP_SWAP: [&str; 9] = [
    "base_embedding",
    "pre_query_norm.weight",
    "pre_query_norm.bias",
    "query_processor.weight",
    "query_processor.bias",
    "hidden_to_key_value.weight",
    "hidden_to_key_value.bias",
    "output_linear.weight",
    "output_linear.bias",
];
const OUTPUT: [&str; 5] = [
    "norm_final.weight",
    "linear.weight",
    "linear.bias",
    "adaLN_modulation.weight",
    "adaLN_modulation.bias",
];

fn prefixed<'a>(prefix: &'a str, names: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    names.iter().map(move |name| format!("{prefix}.{name}"))
}

/// The parameters of the partition transformer in `checkpoint_pgm.ckpt`, in their order.
fn pgm_names() -> Vec<String> {
    let mut names: Vec<String> = FIRST.map(String::from).to_vec();
    names.extend(prefixed("encoder.blocks.0", &ENCODER_BLOCK));
    names.extend(prefixed("decoder.group_swap", &GROUP_SWAP));
    names.extend(prefixed("decoder.layers.0", &DECODER_BLOCK));
    names.extend(prefixed("decoder.layers.1", &DECODER_BLOCK));
    names.extend(prefixed("output_layer", &OUTPUT));
    names
}

fn mdlm_names() -> Vec<String> {
    let mut names: Vec<String> = FIRST.map(String::from).to_vec();
    names.extend(prefixed("blocks.0", &ENCODER_BLOCK));
    names.extend(prefixed("blocks.1", &ENCODER_BLOCK));
    names.extend(prefixed("output_layer", &OUTPUT));
    names
}

fn pgm_config() -> PartitionTransformerConfig {
    PartitionTransformerConfig {
        vocab_size: 11,
        d_model: 8,
        n_heads: 2,
        n_encoder_blocks: 1,
        n_decoder_blocks: 2,
        cond_dim: 4,
        mlp_ratio: 2,
        ..Default::default()
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn open(name: &str, choice: WeightsChoice) -> WeightsFile {
    WeightsFile::open(golden(name), choice).unwrap_or_else(|error| panic!("{error}"))
}

/// The parameters of a network under their published names.
fn published_tensors(
    model: &LanguageModel,
    config: &LanguageModelConfig,
) -> BTreeMap<String, Vec<f32>> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    save(model, config, WeightsFormat::Published, file.path()).expect("published names");
    let bytes = std::fs::read(file.path()).expect("a file");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = |data: &[u8]| {
        let chunks = data.chunks_exact(4);
        chunks
            .map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")))
            .collect()
    };
    tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), values(view.data())))
        .collect()
}

/// Element `j` of parameter `k` is `sign * (1000 k + j)` in its file.
fn check_values(file: &WeightsFile, names: &[String], sign: f32) {
    let config = file.config(Some(2)).expect("sizes");
    let model = file.load(Some(2), &Device::flex()).expect("weights");
    let tensors = published_tensors(&model, &config);
    assert_eq!(tensors.len(), names.len());
    for (name, values) in tensors {
        let k = names.iter().position(|n| *n == name).expect("a known name");
        for (j, value) in values.into_iter().enumerate() {
            assert_eq!(value, sign * (1000 * k + j) as f32, "{name}[{j}]");
        }
    }
}

#[test]
fn raw_and_averaged_weights_of_a_checkpoint_find_their_places() {
    for (name, names) in [
        ("checkpoint_pgm.ckpt", pgm_names()),
        ("checkpoint_mdlm.ckpt", mdlm_names()),
    ] {
        let raw = open(name, WeightsChoice::Raw);
        assert_eq!(raw.source(), WeightsSource::Raw);
        check_values(&raw, &names, 1.0);
        let average = open(name, WeightsChoice::Average);
        assert_eq!(average.source(), WeightsSource::Average);
        check_values(&average, &names, -1.0);
    }
    // One object in the checkpoints makes this folder when it is unpickled.
    assert!(!Path::new("executed-by-a-pickle").exists());
}

#[test]
fn a_bare_state_dict_in_half_precision_is_one_set_of_weights() {
    let file = open("state_dict_pgm_mlp4.pt", WeightsChoice::Average);
    assert_eq!(file.source(), WeightsSource::Only);
    let config = file.config(Some(2)).unwrap();
    let mut names = pgm_names();
    let processor = ["0.weight", "0.bias", "2.weight", "2.bias"]
        .map(|end| format!("decoder.group_swap.query_processor.{end}"));
    names.splice(18..20, processor);
    let model = file.load(Some(2), &Device::flex()).unwrap();
    for (name, values) in published_tensors(&model, &config) {
        let k = names.iter().position(|n| *n == name).expect("a known name");
        assert!(values.iter().all(|&value| value == k as f32), "{name}");
    }
}

#[test]
fn sizes_are_read_from_the_tensors() {
    let pgm = open("checkpoint_pgm.ckpt", WeightsChoice::Raw);
    let config = pgm_config();
    assert_eq!(
        pgm.config(Some(2)).unwrap(),
        LanguageModelConfig::Partition(config.clone())
    );
    // 8 is no multiple of the 64 features that published heads have.
    let error = pgm.config(None).unwrap_err().to_string();
    assert!(
        error.contains("width 8") && error.contains("give `n_heads`"),
        "{error}"
    );

    let mlp4 = open("state_dict_pgm_mlp4.pt", WeightsChoice::Raw);
    let config = PartitionTransformerConfig {
        query_processor: QueryProcessorKind::Mlp4,
        ..config
    };
    assert_eq!(
        mlp4.config(Some(2)).unwrap(),
        LanguageModelConfig::Partition(config)
    );
    let mdlm = open("checkpoint_mdlm.ckpt", WeightsChoice::Raw);
    let LanguageModelConfig::Masked(config) = mdlm.config(Some(4)).unwrap() else {
        panic!("no DiT");
    };
    assert_eq!(
        (config.n_blocks, config.n_heads, config.mlp_ratio),
        (2, 4, 2)
    );
    // Width 64: one head of 64 features, unless told.
    let weights = open("weights_mdlm_n025.safetensors", WeightsChoice::Average);
    let LanguageModelConfig::Masked(config) = weights.config(None).unwrap() else {
        panic!("no DiT");
    };
    assert_eq!(
        (config.d_model, config.n_heads, config.n_blocks),
        (64, 1, 4)
    );
}

#[test]
fn every_difference_from_the_network_is_counted() {
    let file = open("checkpoint_pgm.ckpt", WeightsChoice::Average);
    let config = PartitionTransformerConfig {
        vocab_size: 12,
        n_encoder_blocks: 2,
        n_decoder_blocks: 1,
        ..pgm_config()
    };
    let mut model = config.init(&Device::flex());
    let WeightsError::Mismatch { mismatch, .. } = file.load_into(&mut model).unwrap_err() else {
        panic!("no mismatch");
    };
    assert_eq!(mismatch.missing.len(), 10);
    assert!(mismatch.missing[0].starts_with("encoder.blocks.1."));
    assert_eq!(mismatch.unexpected.len(), 12);
    assert!(mismatch.unexpected[0].starts_with("decoder.layers.1."));
    let misshapen: Vec<_> = mismatch.misshapen.iter().map(|(name, ..)| name).collect();
    assert_eq!(
        misshapen,
        [
            "output_layer.linear.bias",
            "output_layer.linear.weight",
            "vocab_embed.embedding"
        ]
    );
    let mut causal = CausalDitConfig::default().init(&Device::flex());
    assert!(matches!(
        file.load_into(&mut causal).unwrap_err(),
        WeightsError::NoPublishedNames
    ));
}

#[test]
fn what_is_written_is_read_back_with_the_sizes() {
    let device = Device::flex();
    let small = DitConfig {
        vocab_size: 11,
        d_model: 8,
        n_heads: 2,
        n_blocks: 1,
        cond_dim: 4,
        mlp_ratio: 2,
        dropout: 0.0,
    };
    let configs = [
        LanguageModelConfig::Partition(PartitionTransformerConfig {
            pre_query: PreQuery::SinusoidMean,
            query_processor: QueryProcessorKind::Mlp4,
            ..pgm_config()
        }),
        LanguageModelConfig::Masked(small),
    ];
    let folder = tempfile::tempdir().unwrap();
    for config in configs {
        let model = config.init(&device);
        let expected = published_tensors(&model, &config);
        for format in [
            WeightsFormat::Safetensors,
            WeightsFormat::Published,
            WeightsFormat::Burnpack,
        ] {
            let path = folder.path().join("weights");
            save(&model, &config, format, &path).unwrap();
            let file = WeightsFile::open(&path, WeightsChoice::Average).unwrap();
            assert_eq!(file.is_published(), format == WeightsFormat::Published);
            assert_eq!(file.config(None).unwrap(), config);
            let loaded = file.load(None, &device).unwrap();
            assert!(
                published_tensors(&loaded, &config) == expected,
                "{format:?} has other values"
            );
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// All bits of all tensors, those of networks whose numbers are not round.
#[test]
fn the_published_layout_is_read_back_bit_by_bit() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "weights_pgm_linear_n025.safetensors",
        "weights_mdlm_n025.safetensors",
    ] {
        let original = std::fs::read(golden(name)).unwrap();
        let original = SafeTensors::deserialize(&original).unwrap();
        let mut path = golden(name);
        // The second time, what was written is read.
        for i in 0..2 {
            let file = WeightsFile::open(&path, WeightsChoice::Average).unwrap();
            let config = file.config(Some(4)).unwrap();
            let model = file.load(Some(4), &device).unwrap();
            path = folder.path().join(format!("{i}-{name}"));
            save(&model, &config, WeightsFormat::Published, &path).unwrap();
            let written = std::fs::read(&path).unwrap();
            let written = SafeTensors::deserialize(&written).unwrap();
            for (name, tensor) in written.tensors() {
                let wanted = original.tensor(&name).unwrap();
                assert_eq!(tensor.shape(), wanted.shape(), "{name}");
                assert!(tensor.data() == wanted.data(), "{name} has other bits");
            }
            // All but the frequencies, which are no parameter.
            let missing = original.names().len() - written.names().len();
            assert!(missing <= 1, "{missing} tensors are missing");
        }
    }
}

#[test]
fn a_burnpack_is_one_of_burns_own() {
    let config = pgm_config();
    let language_model = LanguageModelConfig::Partition(config.clone());
    let model = language_model.init(&Device::flex());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bpk");
    save(&model, &language_model, WeightsFormat::Burnpack, &path).unwrap();
    let mut network = config.init(&Device::flex());
    let result = network
        .load_from(&mut BurnpackStore::from_file(&path))
        .unwrap();
    assert!(result.errors.is_empty() && result.missing.is_empty() && result.unused.is_empty());
    let loaded = LanguageModel::Partition(network);
    let [loaded, saved] = [&loaded, &model].map(|m| published_tensors(m, &language_model));
    assert!(loaded == saved);
}

#[test]
fn autoregressive_networks_are_written_under_names_of_this_crate_only() {
    let config = LanguageModelConfig::Causal(CausalDitConfig {
        vocab_size: 11,
        d_model: 8,
        n_heads: 2,
        n_blocks: 1,
        mlp_ratio: 2,
        dropout: 0.0,
    });
    let model = config.init(&Device::flex());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ar.safetensors");
    let error = save(&model, &config, WeightsFormat::Published, &path).unwrap_err();
    assert!(matches!(error, WeightsError::NoPublishedNames));
    assert!(!path.exists());
    save(&model, &config, WeightsFormat::Safetensors, &path).unwrap();
    let file = WeightsFile::open(&path, WeightsChoice::Average).unwrap();
    assert_eq!(file.config(None).unwrap(), config);
    file.load(None, &Device::flex()).unwrap();
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let bytes = std::fs::read(golden("checkpoint_mdlm.ckpt")).unwrap();
    for end in [0, 3, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..end]).unwrap();
        WeightsFile::open(&path, WeightsChoice::Average).unwrap_err();
    }
    std::fs::write(&path, "just some text").unwrap();
    let error = WeightsFile::open(&path, WeightsChoice::Raw)
        .unwrap_err()
        .to_string();
    assert!(error.contains("and no checkpoint"), "{error}");
    // Whatever byte of the pickle or of the directory is wrong, nothing panics.
    let pickle = 0..10_000;
    let directory = bytes.len() - 9_000..bytes.len();
    for at in pickle.step_by(149).chain(directory.step_by(149)) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(file) = WeightsFile::open(&path, WeightsChoice::Average) {
            let _ = file.load(Some(2), &Device::flex());
        }
    }
}
