//! The configurations of the repository.

use std::fs;
use std::path::Path;

use pgm_data::{Packing, TokenizerSpec};
use pgm_model::cost;
use pgm_train::ExperimentConfig;

/// Parameters of the networks. Three are published; PGM 6/6 has 4 blocks less than 8/8 (30,712,320), and the
/// vocabulary of LM1B 19,736 ids less, of 768 weights in and 769 out each.
const PARAMETERS: [(&str, usize); 8] = [
    ("owt-mdlm", 169_627_218),
    ("owt-complement-mdlm", 169_627_218),
    ("owt-pgm-6-6", 171_996_498),
    ("owt-pgm-8-8", 202_708_818),
    ("owt-pgm-6-6-1024", 268_092_754),
    ("lm1b-mdlm", 139_292_986),
    ("lm1b-complement-mdlm", 139_292_986),
    ("lm1b-pgm-6-6", 141_662_266),
];

fn load(name: &str) -> ExperimentConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let path = path.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).expect("the configuration can be read");
    ExperimentConfig::from_toml(&text, &[]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn published_configurations_have_the_published_number_of_parameters() {
    for (name, expected) in PARAMETERS {
        let config = load(name);
        assert_eq!(config.name, name);
        // GPT-2's tokens and MASK, or bert-base-uncased, which has a MASK.
        let vocab_size = match config.data.tokenizer {
            TokenizerSpec::Gpt2 => 50_258,
            _ => 30_522,
        };
        let network = config.model.network(config.objective.kind, vocab_size);
        assert_eq!(cost::n_parameters(&network), expected, "{name}");
    }
}

#[test]
fn published_configurations_differ_from_the_defaults_in_what_their_names_say() {
    for (name, _) in PARAMETERS {
        let config = load(name);
        let is_padded = config.data.packing == Packing::Padded;
        assert_eq!(is_padded, name.starts_with("lm1b"), "{name}");
        let (seq_len, n_steps) = match name {
            "owt-pgm-6-6" => (1024, 200_000),
            name if name.starts_with("lm1b") => (128, 1_000_000),
            _ => (1024, 1_000_000),
        };
        assert_eq!(config.data.seq_len, seq_len, "{name}");
        assert_eq!(config.training.n_steps, n_steps, "{name}");
        // The defaults are the published settings.
        assert_eq!(config.optimizer, Default::default(), "{name}");
        assert_eq!(config.objective.weighting, Default::default(), "{name}");
        assert_eq!(config.training.batch_size, 512, "{name}");
    }
}

#[test]
fn every_configuration_loads_under_the_name_of_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut n_files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(load(&name).name, name);
        n_files += 1;
    }
    assert!(n_files > PARAMETERS.len(), "{n_files} files");
}
