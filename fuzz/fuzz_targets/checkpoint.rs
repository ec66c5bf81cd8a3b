//! Any bytes in the place of one file of a trained run: the run is refused with a reason, or opened.
//! Weights are also read without the checksum that guards them.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Device;
use libfuzzer_sys::fuzz_target;
use pgm_model::PartitionTransformerConfig;
use pgm_train::{
    CheckpointChoice, ExperimentConfig, RunFolder, Trainer, TrainingEvent, TrainingObserver,
    WeightsChoice,
};

const CONFIG: &str = r#"
name = "tiny"
[data]
inputs = ["TEXT"]
tokenizer = "bpe-260"
seq_len = 8
[model]
d_model = 8
n_heads = 1
n_encoder_blocks = 1
n_decoder_blocks = 1
cond_dim = 4
mlp_ratio = 1
[training]
n_steps = 1
batch_size = 2
[evaluation]
n_sequences = 2
n_samples_at_end = 0
[sampling]
"#;

struct Silent;

impl TrainingObserver for Silent {
    fn on_event(&mut self, _: TrainingEvent) {}
}

/// A trained run; leaked, so that it lives as long as the process.
fn run() -> &'static PathBuf {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let text = folder.join("text.txt");
        fs::write(&text, "Call me Ishmael. Some years ago. ".repeat(40)).expect("the text");
        let toml = CONFIG.replace("TEXT", &text.display().to_string());
        let config = ExperimentConfig::from_toml(&toml, &[]).expect("the configuration");
        let run = folder.join("run");
        let (interrupter, mut silent) = (Default::default(), Silent);
        Trainer::new(
            config,
            RunFolder::new(&run),
            Device::flex(),
            interrupter,
            &mut silent,
        )
        .run()
        .expect("it trains");
        run
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else {
        return;
    };
    let folder = RunFolder::new(run());
    let device = Device::flex();
    let checkpoint = folder.checkpoints().join("step-00000001");
    let path = match kind % 6 {
        0 => run().join("config.toml"),
        1 => run().join("tokenizer.json"),
        2 => checkpoint.join("state.json"),
        3 => checkpoint.join("validation.json"),
        4 => checkpoint.join("ema.bpk"),
        _ => {
            let path = run().join("weights.bpk");
            fs::write(&path, bytes).expect("it can be written");
            if let Ok(record) = ModuleRecord::load(&path) {
                let config = PartitionTransformerConfig {
                    vocab_size: 5,
                    d_model: 4,
                    n_heads: 1,
                    n_encoder_blocks: 1,
                    n_decoder_blocks: 1,
                    cond_dim: 2,
                    mlp_ratio: 1,
                    ..Default::default()
                };
                let _ = config.init(&device).try_load_record(record);
            }
            return;
        }
    };
    let original = fs::read(&path).expect("the file of the run");
    fs::write(&path, bytes).expect("it can be written");
    for choice in [CheckpointChoice::Last, CheckpointChoice::Best] {
        match folder.load(choice, WeightsChoice::Average, &device) {
            Ok(run) => assert_eq!(run.model.step, 1),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    fs::write(&path, original).expect("it can be written");
});
