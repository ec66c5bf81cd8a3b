use serde::Serialize;

use crate::{LanguageModelConfig, cost};

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

/// What a network costs in training and at sampling. Memory is for float32.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostReport {
    /// Of each part, in the order in which tokens pass through.
    pub parameters: Vec<PartParameters>,
    /// All parameters.
    pub n_parameters: usize,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// The cost of training, if it is known how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingCost>,
    /// The cost of drawing sequences.
    pub sampling: SamplingCost,
}

/// Parameters of a part of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartParameters {
    /// Name of the part.
    pub part: &'static str,
    /// Its parameters.
    pub count: usize,
}

/// What training costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingCost {
    /// Optimizer steps.
    pub n_steps: usize,
    /// Sequences of an optimizer step.
    pub batch_size: usize,
    /// Sequences that go through the network at once.
    pub micro_batch_size: usize,
    /// Tokens of an optimizer step.
    pub tokens_per_step: usize,
    /// Tokens of all steps.
    pub tokens: usize,
    /// Floating-point operations per token.
    pub flops_per_token: f64,
    /// Floating-point operations of all steps.
    pub flops: f64,
    /// Bytes of the weights.
    pub weight_bytes: usize,
    /// Bytes of their gradients.
    pub gradient_bytes: usize,
    /// Bytes of Adam's two moments.
    pub adam_bytes: usize,
    /// Bytes of the averaged weights; 0 if none are kept.
    pub average_bytes: usize,
    /// Bytes kept for the backward pass, about.
    pub activation_bytes_estimate: usize,
}

/// What sampling costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SamplingCost {
    /// Sampling steps.
    pub n_steps: usize,
    /// Sequences drawn at once.
    pub batch_size: usize,
    /// Floating-point operations per drawn token.
    pub flops_per_token: f64,
    /// Bytes of the weights.
    pub weight_bytes: usize,
    /// Bytes held by the largest step, about.
    pub activation_bytes_estimate: usize,
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
    /// Bytes of everything that is held at once, about.
    pub fn bytes(&self) -> usize {
        self.weight_bytes
            + self.gradient_bytes
            + self.adam_bytes
            + self.average_bytes
            + self.activation_bytes_estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DitConfig;

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
    }
}
