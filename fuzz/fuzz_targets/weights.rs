//! Any bytes as a file with weights (PyTorch, safetensors, burnpack): refused with a reason, or a
//! network is built from it.
#![no_main]

use std::io::Write;

use burn::tensor::Device;
use libfuzzer_sys::fuzz_target;
use pgm_weights::{WeightsChoice, WeightsFile};

fuzz_target!(|input: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(input).expect("it can be written");
    for choice in [WeightsChoice::Average, WeightsChoice::Raw] {
        let loaded = WeightsFile::open(file.path(), choice)
            .and_then(|weights| weights.load(Some(2), &Device::flex()));
        if let Err(error) = loaded {
            assert!(!error.to_string().is_empty());
        }
    }
});
