//! A run of seconds on a few kilobytes of text.

use std::path::Path;

use burn::tensor::Device;
use burn_train::Interrupter;
use pgm_train::{
    ExperimentConfig, Outcome, RunFolder, TrainError, Trainer, TrainingEvent, TrainingObserver,
};

/// Says nothing.
pub struct Silent;

impl TrainingObserver for Silent {
    fn on_event(&mut self, _: TrainingEvent) {}
}

pub fn config(text_folder: &Path, overrides: &[&str]) -> ExperimentConfig {
    let text = text_folder.join("text.txt");
    let sentences = [
        "The whale is white. ",
        "Call me Ishmael! ",
        "It was a dark sea; ",
    ];
    let content: String = (0..600).map(|i| sentences[(i * i + i / 7) % 3]).collect();
    std::fs::write(&text, content).expect("the text can be written");
    let toml = format!(
        r#"
        name = "tiny"
        seed = 3
        [data]
        inputs = ['{}']
        tokenizer = "bpe-270"
        seq_len = 16
        validation = {{ fraction = 0.1 }}
        [model]
        d_model = 16
        n_heads = 2
        n_encoder_blocks = 1
        n_decoder_blocks = 1
        n_blocks = 2
        cond_dim = 8
        dropout = 0.1
        [optimizer]
        learning_rate = 1e-2
        warmup_steps = 2
        [training]
        n_steps = 8
        batch_size = 4
        log_every = 1
        checkpoint_every = 4
        [evaluation]
        n_sequences = 8
        batch_size = 8
        n_samples_at_end = 2
        [sampling]
        n_steps = 4
        "#,
        text.display()
    );
    let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
    ExperimentConfig::from_toml(&toml, &overrides).expect("the configuration is valid")
}

pub fn run(
    config: ExperimentConfig,
    folder: &RunFolder,
    device: &Device,
    interrupter: Interrupter,
    observer: &mut dyn TrainingObserver,
) -> Result<Outcome, TrainError> {
    Trainer::new(
        config,
        folder.clone(),
        device.clone(),
        interrupter,
        observer,
    )
    .run()
}
