use std::fmt;

use pgm_model::cost::{CostReport, PartParameters};

use crate::format;

/// What a network costs, as lines of text.
#[derive(Debug)]
pub struct CostTable<'a>(pub &'a CostReport);

impl fmt::Display for CostTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let mut row = |name: &str, value: String| writeln!(f, "{name:<24} {value:>14}");
        row("parameters", format::count(report.n_parameters))?;
        for PartParameters { part, count } in &report.parameters {
            row(&format!("  {part}"), format::count(*count))?;
        }
        if let Some(training) = &report.training {
            let (batch, seq_len) = (
                format::count(training.batch_size),
                format::count(report.seq_len),
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
        let sampling = &report.sampling;
        writeln!(
            f,
            "\nsampling, {} sequences of {} tokens at once, {} steps",
            format::count(sampling.batch_size),
            format::count(report.seq_len),
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
    use pgm_model::cost::TrainingSettings;
    use pgm_model::{DitConfig, LanguageModelConfig};

    use super::*;

    #[test]
    fn parameters_and_settings_stand_in_the_table() {
        let network = LanguageModelConfig::Masked(DitConfig::default());
        let settings = TrainingSettings {
            n_steps: 10,
            batch_size: 4,
            micro_batch_size: 2,
            has_average: true,
            passes: 2,
        };
        let report = CostReport::new(&network, 1024, 128, 1, Some(settings));
        let text = CostTable(&report).to_string();
        assert!(text.contains("169,627,218"), "{text}");
        assert!(text.contains("10 steps of 4 sequences"), "{text}");
    }
}
