use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use pgm_data::{Tokenizer, TokenizerSpec};
use pgm_train::{CheckpointChoice, ExperimentConfig, RunFolder, WeightsChoice, vocabulary};

use super::config_args::ConfigArgs;
use crate::format;

/// Describe a run or a configuration: sizes, parameters, settings
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Folder of a run; its newest checkpoint is read
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "objective", "set"])]
    run: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl InfoArgs {
    pub fn run(self) -> Result<ExitCode> {
        match &self.run {
            Some(path) => {
                let run = RunFolder::new(path).load(
                    CheckpointChoice::Last,
                    WeightsChoice::Raw,
                    &Device::flex(),
                )?;
                println!("run          {}", path.display());
                println!("checkpoint   step {}", format::count(run.step));
                println!(
                    "tokenizer    {} ({} ids, MASK {})",
                    run.tokenizer.name(),
                    format::count(run.tokenizer.vocab_size()),
                    run.mask_token
                );
                println!("parameters   {}", format::count(run.network.num_params()));
                println!("\n{}", run.config.to_toml());
            }
            None => describe(&self.config.load()?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(config: &ExperimentConfig) -> Result<()> {
    let (vocab_size, mask_token) = match &config.data.tokenizer {
        TokenizerSpec::Gpt2 => vocabulary(&Tokenizer::gpt2()),
        TokenizerSpec::File(path) => vocabulary(&Tokenizer::from_file(path)?),
        // Learned from the text: MASK is the id behind its last.
        TokenizerSpec::Bpe { vocab_size } => (vocab_size + 1, *vocab_size),
    };
    let network = config
        .model
        .network(config.objective.kind, vocab_size)
        .init(&Device::flex());
    let n_parameters = network.num_params();
    let tokens = config.training.n_steps * config.training.batch_size * config.data.seq_len;
    println!("name         {}", config.name);
    println!("objective    {}", config.objective.kind.name());
    println!(
        "vocabulary   {} ids, MASK {mask_token} among them",
        format::count(vocab_size)
    );
    println!(
        "parameters   {} ({:.1} MB in float32, {:.1} MB with gradients, Adam and averaged weights)",
        format::count(n_parameters),
        n_parameters as f64 * 4e-6,
        n_parameters as f64 * 20e-6,
    );
    println!(
        "training     {} steps of {} sequences of {} tokens: {} tokens",
        format::count(config.training.n_steps),
        format::count(config.training.batch_size),
        format::count(config.data.seq_len),
        format::short(tokens as f64),
    );
    println!("\n{}", config.to_toml());
    Ok(())
}
