//! The configurations of the repository.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use discrete_diffusion::distillation::TeacherTimes;
use pgm_distill::{Directions, DistillConfig, DistillationSection, Normalisation};

fn configs() -> Vec<(String, DistillConfig)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/distill");
    let files = fs::read_dir(folder).unwrap();
    let load = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        let config = DistillConfig::from_toml(&text, &[]);
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, config)
    };
    files.map(|entry| load(&entry.unwrap().path())).collect()
}

#[test]
fn every_configuration_loads_under_the_name_of_its_file() {
    let configs = configs();
    assert_eq!(configs.len(), 7);
    for (name, config) in configs {
        assert_eq!(config.name, name);
    }
}

#[test]
fn published_configurations_differ_in_what_is_known_to_differ() {
    for (name, config) in configs() {
        // Rounds, learning rate, warm-up.
        let (n_rounds, rate, warmup) = match name.as_str() {
            "quickstart-distilled" => continue,
            "sdtt-paper" => (7, 6e-5, 500),
            _ => (5, 3e-4, 2500),
        };
        let is_two_sided = name == "pgm-both";
        let (normalisation, teacher_times) = match name.as_str() {
            "sdtt-released-faults" => (Normalisation::Released, TeacherTimes::Released),
            _ => Default::default(),
        };
        let expected = DistillationSection {
            n_rounds,
            normalisation,
            teacher_times,
            directions: if is_two_sided {
                Directions::Both
            } else {
                Directions::Hidden
            },
            ..Default::default()
        };
        assert_eq!(config.distillation, expected, "{name}");
        assert_eq!(config.schedule().rounds(), n_rounds, "{name}");
        assert_eq!(config.optimizer.learning_rate, rate, "{name}");
        assert_eq!(config.optimizer.warmup_steps, warmup, "{name}");
        assert_eq!(config.optimizer.ema_decay, 0.9999, "{name}");
        assert_eq!(config.training.batch_size, 128, "{name}");
    }
}
