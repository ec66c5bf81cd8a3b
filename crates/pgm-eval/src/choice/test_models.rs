//! Tiny networks for tests.

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};
use pgm_model::{CausalDitConfig, LanguageModel, LanguageModelConfig};
use pgm_weights::{WeightsChoice, WeightsFile};

use super::cloze_reader::ClozeReader;

pub(super) const MASK: usize = 100;

/// A network with random weights among the golden values of `pgm-weights`.
pub(crate) fn golden(name: &str) -> LanguageModel {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../pgm-weights/tests/golden")
        .join(name);
    let file = WeightsFile::open(path, WeightsChoice::default()).unwrap();
    file.load(Some(4), &Device::flex()).unwrap()
}

pub(super) fn causal() -> LanguageModel {
    struct Randomise;
    impl ModuleMapper for Randomise {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|weights| weights.random_like(Distribution::Normal(0.0, 0.3)))
        }
    }
    let config = LanguageModelConfig::Causal(CausalDitConfig {
        vocab_size: MASK + 1,
        d_model: 16,
        n_heads: 2,
        n_blocks: 2,
        mlp_ratio: 2,
        dropout: 0.0,
    });
    config.init(&Device::flex()).map(&mut Randomise)
}

pub(super) fn reader<'a>(
    model: &'a LanguageModel,
    device: &'a Device,
    batch_size: usize,
) -> ClozeReader<'a> {
    ClozeReader {
        model,
        mask_token: MASK,
        batch_size,
        device,
    }
}
