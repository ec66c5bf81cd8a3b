use std::fmt;

use pgm_model::{LanguageModelConfig, cost};
use serde::Serialize;

use crate::format;

/// Bytes of a float32.
const FLOAT: usize = 4;

/// How a network is trained, as far as it costs something.
#[derive(Debug, Clone, Copy)]
pub struct TrainingSettings {
    /// Optimizer steps.
    pub n_steps: usize,
    /// Sequences of an optimizer step.
    pub batch_size: usize,
    /// Sequences that go through the network at once.
    pub micro_batch_size: usize,
    /// Whether averaged weights are kept.
    pub has_average: bool,
    /// How often a sequence goes through the network in a step.
    pub passes: usize,
}

/// What a network costs in training and at sampling.
#[derive(Debug, Serialize)]
pub struct CostReport {
    parameters: Vec<PartParameters>,
    n_parameters: usize,
    seq_len: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<TrainingCost>,
    sampling: SamplingCost,
}

#[derive(Debug, Serialize)]
struct PartParameters {
    part: &'static str,
    count: usize,
}

#[derive(Debug, Serialize)]
struct TrainingCost {
    n_steps: usize,
    batch_size: usize,
    micro_batch_size: usize,
    tokens_per_step: usize,
    tokens: usize,
    flops_per_token: f64,
    flops: f64,
    weight_bytes: usize,
    gradient_bytes: usize,
    adam_bytes: usize,
    average_bytes: usize,
    activation_bytes_estimate: usize,
}

#[derive(Debug, Serialize)]
struct SamplingCost {
    n_steps: usize,
    batch_size: usize,
    flops_per_token: f64,
    weight_bytes: usize,
    activation_bytes_estimate: usize,
}

impl CostReport {
    /// The cost at sequences of `seq_len` tokens, drawn `batch_size` at once in `n_steps` steps.
    pub fn new(
        network: &LanguageModelConfig,
        seq_len: usize,
        n_steps: usize,
        batch_size: usize,
        training: Option<TrainingSettings>,
    ) -> Self {
        let n_parameters = cost::n_parameters(network);
        let weight_bytes = n_parameters * FLOAT;
        let training = training.map(|settings| {
            let tokens_per_step = settings.batch_size * seq_len;
            let tokens = tokens_per_step * settings.n_steps;
            let flops_per_token = settings.passes as f64 * cost::training_flops(network, seq_len);
            TrainingCost {
                n_steps: settings.n_steps,
                batch_size: settings.batch_size,
                micro_batch_size: settings.micro_batch_size,
                tokens_per_step,
                tokens,
                flops_per_token,
                flops: flops_per_token * tokens as f64,
                weight_bytes,
                gradient_bytes: weight_bytes,
                adam_bytes: 2 * weight_bytes,
                average_bytes: settings.has_average as usize * weight_bytes,
                activation_bytes_estimate: settings.passes
                    * settings.micro_batch_size
                    * seq_len
                    * cost::training_activations(network, seq_len)
                    * FLOAT,
            }
        });
        let parts = cost::parameters(network).into_iter();
        Self {
            parameters: parts
                .map(|(part, count)| PartParameters { part, count })
                .collect(),
            n_parameters,
            seq_len,
            training,
            sampling: SamplingCost {
                n_steps,
                batch_size,
                flops_per_token: cost::sampling_flops(network, seq_len, n_steps),
                weight_bytes,
                activation_bytes_estimate: batch_size
                    * cost::sampling_activations(network, seq_len, n_steps)
                    * FLOAT,
            },
        }
    }
}

impl TrainingCost {
    fn bytes(&self) -> usize {
        self.weight_bytes
            + self.gradient_bytes
            + self.adam_bytes
            + self.average_bytes
            + self.activation_bytes_estimate
    }
}

impl fmt::Display for CostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<24} {value:>14}");
        row("parameters", format::count(self.n_parameters))?;
        for PartParameters { part, count } in &self.parameters {
            row(&format!("  {part}"), format::count(*count))?;
        }
        if let Some(training) = &self.training {
            let (batch, seq_len) = (
                format::count(training.batch_size),
                format::count(self.seq_len),
            );
            writeln!(
                f,
                "\ntraining, {} steps of {batch} sequences of {seq_len} tokens",
                format::count(training.n_steps)
            )?;
            let mut row = |name: &str, value: String| writeln!(f, "  {name:<22} {value:>14}");
            row("tokens a step", format::count(training.tokens_per_step))?;
            row("tokens", scaled(training.tokens as f64, ""))?;
            row("operations a token", scaled(training.flops_per_token, ""))?;
            row("operations", format!("{:.2e}", training.flops))?;
            row("memory", bytes(training.bytes()))?;
            row("  weights", bytes(training.weight_bytes))?;
            row("  gradients", bytes(training.gradient_bytes))?;
            row("  Adam's moments", bytes(training.adam_bytes))?;
            if training.average_bytes > 0 {
                row("  averaged weights", bytes(training.average_bytes))?;
            }
            let activations = training.activation_bytes_estimate;
            row("  activations, about", bytes(activations))?;
            let at_once = training.micro_batch_size.max(1);
            row("    sequences at once", format::count(at_once))?;
            row("    of a sequence", bytes(activations / at_once))?;
        }
        let sampling = &self.sampling;
        writeln!(
            f,
            "\nsampling, {} sequences of {} tokens at once, {} steps",
            format::count(sampling.batch_size),
            format::count(self.seq_len),
            format::count(sampling.n_steps)
        )?;
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<22} {value:>14}");
        row("operations a token", scaled(sampling.flops_per_token, ""))?;
        row("weights", bytes(sampling.weight_bytes))?;
        write!(
            f,
            "  {:<22} {:>14}",
            "activations, about",
            bytes(sampling.activation_bytes_estimate)
        )
    }
}

fn bytes(n: usize) -> String {
    scaled(n as f64, "B")
}

/// `1.23 GB`: powers of 1000.
fn scaled(value: f64, unit: &str) -> String {
    let prefixes = ["", "k", "M", "G", "T", "P"];
    let mut prefix = 0;
    let mut value = value;
    while value >= 1000.0 && prefix + 1 < prefixes.len() {
        value /= 1000.0;
        prefix += 1;
    }
    format!("{value:.2} {}{unit}", prefixes[prefix])
}

#[cfg(test)]
mod tests {
    use pgm_model::DitConfig;

    use super::*;

    #[test]
    fn memory_and_tokens_follow_from_the_settings() {
        let network = LanguageModelConfig::Masked(DitConfig::default());
        let settings = TrainingSettings {
            n_steps: 10,
            batch_size: 4,
            micro_batch_size: 2,
            has_average: true,
            passes: 2,
        };
        let report = CostReport::new(&network, 1024, 128, 1, Some(settings));
        let training = report.training.as_ref().unwrap();
        assert_eq!(training.tokens_per_step, 4096);
        assert_eq!(training.tokens, 40_960);
        assert_eq!(training.weight_bytes, 4 * 169_627_218);
        // Weights, gradients, two moments and the average.
        let fixed = training.bytes() - training.activation_bytes_estimate;
        assert_eq!(fixed, 20 * 169_627_218);
        assert_eq!(
            training.flops_per_token,
            2.0 * cost::training_flops(&network, 1024)
        );
        // Two of the four sequences at once, each of them twice.
        let numbers = 2 * 2 * 1024 * cost::training_activations(&network, 1024);
        assert_eq!(training.activation_bytes_estimate, 4 * numbers);
        let text = report.to_string();
        assert!(text.contains("169,627,218"), "{text}");
        assert!(text.contains("10 steps of 4 sequences"), "{text}");
    }
}
