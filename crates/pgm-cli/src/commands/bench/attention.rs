use std::process::ExitCode;

use anyhow::{Result, ensure};
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};
use clap::{Args, ValueEnum};
use partition_attention::{GroupLayout, partition_attention};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::output_args::OutputArgs;
use super::timing::Timing;

/// Attention within and across groups, forward and with the backward pass
///
/// TFLOP/s count the pairs that may meet, and no others. `uniform`: the share of group 1 is uniform
/// between 0 and 1 for each sequence; `half`: one half.
#[derive(Debug, Args)]
pub struct AttentionArgs {
    /// Sequences
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    #[arg(long, default_value_t = 12)]
    heads: usize,
    #[arg(long, default_value_t = 64)]
    head_dim: usize,
    /// Tokens of a sequence; several are measured one by one
    #[arg(long, value_delimiter = ',', default_value = "1024")]
    length: Vec<usize>,
    #[arg(long, default_value = "bf16")]
    precision: Precision,
    /// Measurements of each case
    #[arg(long, default_value_t = 20)]
    n: usize,
    /// Calls between two waits for the device
    #[arg(long, default_value_t = 20)]
    calls: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Precision {
    F32,
    F16,
    Bf16,
}

impl Precision {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// How tokens are spread over the groups.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    Uniform,
    Half,
}

#[derive(Debug, Serialize)]
struct Case {
    attention: &'static str,
    pass: &'static str,
    split: Split,
    batch: usize,
    heads: usize,
    length: usize,
    head_dim: usize,
    precision: Precision,
    first_call_seconds: f64,
    timing: Timing,
    /// Arithmetic on the pairs that may meet.
    tflops: f64,
    /// Inputs read once, outputs written once.
    gigabytes_per_second: f64,
}

impl AttentionArgs {
    pub fn run(self) -> Result<ExitCode> {
        ensure!(
            self.n > 0 && self.calls > 0,
            "--n and --calls must be 1 or more"
        );
        let device = self.output.open_device()?;
        eprintln!("{device:?}");
        println!(
            "{:<7} {:<17} {:<8} {:>5} {:>6} {:>10} {:>9} {:>9} {:>8}",
            "keys", "pass", "split", "batch", "length", "ms", "TFLOP/s", "GB/s", "first s"
        );
        let mut cases = Vec::new();
        for &length in &self.length {
            for split in [Split::Uniform, Split::Half] {
                for is_within in [true, false] {
                    for with_backward in [false, true] {
                        let case = self.case(&device, length, split, is_within, with_backward)?;
                        println!("{}", case.line());
                        cases.push(case);
                        self.output.write("attention", &device, &cases)?;
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn case(
        &self,
        device: &Device,
        length: usize,
        split: Split,
        is_within: bool,
        with_backward: bool,
    ) -> Result<Case> {
        let device = if with_backward {
            device.clone().autodiff()
        } else {
            device.clone()
        };
        let (groups, n_within) = self.groups(length, split);
        let shape = [self.batch_size, length];
        let groups = Tensor::<2, Int>::from_data(TensorData::new(groups, shape), &device);
        let layout = GroupLayout::new(groups);
        let (segments, n_pairs) = if is_within {
            (layout.within_groups(), n_within)
        } else {
            let n_all = self.batch_size as f64 * (length * length) as f64;
            (layout.across_groups(), n_all - n_within)
        };
        let inputs = [0; 3].map(|_| {
            let shape = [self.batch_size, length, self.heads, self.head_dim];
            let input = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device)
                .cast(self.precision.dtype());
            if with_backward {
                input.require_grad()
            } else {
                input
            }
        });
        let call = || {
            let [query, key, value] = inputs.clone();
            let output = partition_attention(query, key, value, &segments);
            if with_backward {
                // From a gradient of ones.
                let mut gradients = output.backward();
                for input in &inputs {
                    let gradient = input.grad_remove(&mut gradients);
                    ensure!(gradient.is_some(), "attention left a gradient out");
                }
            }
            Ok(())
        };
        let first = Timing::measure(&device, 0, 1, 1, call)?;
        let timing = Timing::measure(&device, 3, self.n, self.calls, call)?;
        // Two products forward, five more backward.
        let products = if with_backward { 7.0 } else { 2.0 };
        let operations = products * 2.0 * n_pairs * (self.heads * self.head_dim) as f64;
        // Queries, keys, values, output; backward reads them again with the output's gradient and
        // writes three gradients.
        let tensors = if with_backward { 12.0 } else { 4.0 };
        let rows = (self.batch_size * length * self.heads) as f64;
        let bytes = tensors * rows * (self.head_dim * self.precision.dtype().size()) as f64;
        Ok(Case {
            attention: if is_within { "within" } else { "across" },
            pass: if with_backward {
                "forward+backward"
            } else {
                "forward"
            },
            split,
            batch: self.batch_size,
            heads: self.heads,
            length,
            head_dim: self.head_dim,
            precision: self.precision,
            first_call_seconds: first.median_seconds,
            timing,
            tflops: operations / timing.median_seconds / 1e12,
            gigabytes_per_second: bytes / timing.median_seconds / 1e9,
        })
    }

    /// The group of each token, and how many pairs of a query and a key share theirs.
    fn groups(&self, length: usize, split: Split) -> (Vec<i64>, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut n_pairs = 0.0;
        let groups = (0..self.batch_size)
            .flat_map(|row| {
                let share = match split {
                    // Stratified, so that few sequences have the mean of many.
                    Split::Uniform => (row as f64 + rng.random::<f64>()) / self.batch_size as f64,
                    Split::Half => 0.5,
                };
                let row: Vec<i64> = (0..length)
                    .map(|_| i64::from(rng.random::<f64>() < share))
                    .collect();
                let n_second = row.iter().sum::<i64>() as f64;
                let n_first = length as f64 - n_second;
                n_pairs += n_first * n_first + n_second * n_second;
                row
            })
            .collect();
        (groups, n_pairs)
    }
}

impl Case {
    fn line(&self) -> String {
        format!(
            "{:<7} {:<17} {:<8} {:>5} {:>6} {:>10.4} {:>9.1} {:>9.0} {:>8.2}",
            self.attention,
            self.pass,
            format!("{:?}", self.split).to_lowercase(),
            self.batch,
            self.length,
            self.timing.median_seconds * 1e3,
            self.tflops,
            self.gigabytes_per_second,
            self.first_call_seconds,
        )
    }
}
