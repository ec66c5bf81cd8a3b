//! `pgm bench`: how fast a device is at what this project does.

mod attention;
mod distill;
mod network_args;
mod output_args;
mod random_batch;
mod sample;
mod timing;
mod train;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use attention::AttentionArgs;
use distill::DistillBenchArgs;
use sample::SampleBenchArgs;
use train::TrainBenchArgs;

const AFTER_HELP: &str = "\
Examples:
  pgm bench attention --json attention.json
  pgm bench train --config configs/owt-pgm-8-8.toml --json train.json
  pgm bench distill --config configs/owt-pgm-8-8.toml --batch-size 32
  pgm bench sample --config configs/owt-pgm-8-8.toml --batch-size 32 --steps 128

Networks are random, and so are the tokens: speed does not depend on what was learned. The device is
waited for inside the timed part. Times are medians with quartiles.";

/// Measure attention, training steps, distillation updates and sampling on a device
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Attention(AttentionArgs),
    Train(TrainBenchArgs),
    Distill(DistillBenchArgs),
    Sample(SampleBenchArgs),
}

impl BenchArgs {
    pub fn run(self) -> Result<ExitCode> {
        match self.what {
            What::Attention(args) => args.run(),
            What::Train(args) => args.run(),
            What::Distill(args) => args.run(),
            What::Sample(args) => args.run(),
        }
    }
}
