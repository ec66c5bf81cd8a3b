//! Weights in half precision, and what a file says besides.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use pgm_model::{LanguageModel, LanguageModelConfig, PartitionTransformerConfig, cost};
use pgm_weights::{StoredDtype, WeightsChoice, WeightsExport, WeightsFile, WeightsFormat, save};

const FORMATS: [WeightsFormat; 3] = [
    WeightsFormat::Safetensors,
    WeightsFormat::Published,
    WeightsFormat::Burnpack,
];

fn config() -> LanguageModelConfig {
    LanguageModelConfig::Partition(PartitionTransformerConfig {
        vocab_size: 40,
        d_model: 32,
        n_heads: 2,
        n_encoder_blocks: 1,
        n_decoder_blocks: 1,
        cond_dim: 8,
        ..Default::default()
    })
}

/// Multiplies every weight.
struct Scale(f64);

impl ModuleMapper for Scale {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.mul_scalar(self.0))
    }
}

fn model(device: &Device) -> LanguageModel {
    device.seed(7);
    // Norms begin at 1 and biases at 0: a factor that float16 has to round makes all of them count.
    config().init(device).map(&mut Scale(1.1))
}

/// Every weight, as a plain file of 32 bits holds them.
fn numbers(model: &LanguageModel) -> Vec<f32> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    save(model, &config(), WeightsFormat::Safetensors, file.path()).expect("a file");
    let bytes = std::fs::read(file.path()).expect("a file");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut tensors: Vec<_> = tensors.iter().collect();
    tensors.sort_by_key(|(name, _)| name.to_string());
    let floats = tensors.iter().flat_map(|(_, view)| {
        view.data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes")))
            .collect::<Vec<_>>()
    });
    floats.collect()
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len()
}

#[test]
fn half_precision_rounds_every_weight_once_and_takes_half_the_bytes() {
    let device = Device::flex();
    let model = model(&device);
    let original = numbers(&model);
    let folder = tempfile::tempdir().unwrap();
    let [whole, half] = ["whole", "half"].map(|name| folder.path().join(name));
    // Of numbers in [2^e, 2^(e+1)) float16 keeps 10 bits behind the first, bfloat16 7: half a unit in the last place is
    // 2^-11 and 2^-8 of the number. Below 2^-14 float16 has fixed steps of 2^-24.
    for (dtype, relative, absolute) in [
        (StoredDtype::F16, 2f32.powi(-11), 2f32.powi(-25)),
        (StoredDtype::Bf16, 2f32.powi(-8), 0.0),
    ] {
        for format in FORMATS {
            save(&model, &config(), format, &whole).unwrap();
            let export = WeightsExport {
                dtype,
                ..WeightsExport::new(format)
            };
            export.save(&model, &config(), &half).unwrap();
            let weights = 2 * cost::n_parameters(&config()) as u64;
            let saved = size(&whole) - size(&half);
            assert!(
                saved.abs_diff(weights) < 2000,
                "{dtype:?} {format:?}: {saved} bytes saved of {weights}"
            );
            let file = WeightsFile::open(&half, WeightsChoice::Average).unwrap();
            assert_eq!(file.config(None).unwrap(), config());
            let loaded = numbers(&file.load(None, &device).unwrap());
            assert_eq!(loaded.len(), original.len());
            let mut n_changed = 0;
            for (before, after) in original.iter().zip(&loaded) {
                let bound = (before.abs() * relative).max(absolute);
                assert!(
                    (before - after).abs() <= bound,
                    "{dtype:?} {format:?}: {before} became {after}"
                );
                n_changed += usize::from(before != after);
            }
            assert!(n_changed > 0, "{dtype:?} {format:?} rounds nothing");
            // What was rounded stays as it is.
            let network = file.load(None, &device).unwrap();
            export.save(&network, &config(), &half).unwrap();
            let again = WeightsFile::open(&half, WeightsChoice::Average).unwrap();
            assert!(numbers(&again.load(None, &device).unwrap()) == loaded);
        }
    }
}

#[test]
fn a_weight_beyond_float16_is_named() {
    let device = Device::flex();
    let large = model(&device).map(&mut Scale(1e6));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    for format in FORMATS {
        let mut export = WeightsExport {
            dtype: StoredDtype::F16,
            ..WeightsExport::new(format)
        };
        let error = export.save(&large, &config(), &path).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("float16 cannot hold") && error.contains("bfloat16"),
            "{error}"
        );
        assert!(!path.exists(), "{format:?} left half a file");
        export.dtype = StoredDtype::Bf16;
        export.save(&large, &config(), &path).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn notes_come_back_and_the_same_weights_make_the_same_bytes() {
    let device = Device::flex();
    let model = model(&device);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let notes: BTreeMap<String, String> = (0..8)
        .map(|i| (format!("key {i}"), format!("\"value\" {i}")))
        .collect();
    for format in FORMATS {
        let export = WeightsExport {
            notes: notes.clone(),
            ..WeightsExport::new(format)
        };
        export.save(&model, &config(), &path).unwrap();
        let file = WeightsFile::open(&path, WeightsChoice::Average).unwrap();
        assert_eq!(*file.notes(), notes);
        assert_eq!(file.config(None).unwrap(), config());
        let first = std::fs::read(&path).unwrap();
        export.save(&model, &config(), &path).unwrap();
        assert!(first == std::fs::read(&path).unwrap(), "{format:?}");
    }
    // A file without notes has none.
    save(&model, &config(), WeightsFormat::Burnpack, &path).unwrap();
    let file = WeightsFile::open(&path, WeightsChoice::Average).unwrap();
    assert!(file.notes().is_empty());
}
