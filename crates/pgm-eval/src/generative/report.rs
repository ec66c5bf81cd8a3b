use serde::{Deserialize, Serialize};

use super::bootstrap::{Estimate, N_RESAMPLES};
use super::judging::JudgedSample;
use super::statistics::{TextStatistics, distinct_ngrams};
use crate::EvalError;

/// What the samples are worth. A generative perplexity says nothing without the entropy beside it: text that repeats
/// itself is likely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerativeReport {
    /// `exp` of the nats for each counted token of all samples.
    pub generative_perplexity: Estimate,
    /// Mean over samples of the entropy of their own token frequencies, in nats.
    pub unigram_entropy: Estimate,
    /// Different n-grams for each n-gram of all samples together, for n from 1; falls with the number of samples.
    pub distinct: Vec<Option<f64>>,
    /// Mean over samples of the share of n-grams that occurred before in the sample, for n from 1.
    pub repetition: Vec<Option<Estimate>>,
    /// Mean number of the model's tokens in a sample, BOS included.
    pub mean_length: Estimate,
    /// Samples.
    pub n_samples: usize,
    /// Judge's tokens that count.
    pub n_scored: usize,
    /// Mean number of network evaluations of the model that a sample went through.
    pub network_evaluations: f64,
    /// Time that drawing took.
    pub sampling_seconds: f64,
    /// Time that judging took.
    pub judging_seconds: f64,
    /// Bootstrap samples behind each standard error.
    pub n_resamples: usize,
}

impl GenerativeReport {
    /// Sums samples up. Standard errors are over samples, by the bootstrap, which the seed starts.
    ///
    /// # Errors
    /// When there is no sample, or all are empty.
    pub fn of(samples: &[JudgedSample], seed: u64) -> Result<Self, EvalError> {
        let costs: Vec<(f64, usize)> = samples.iter().map(|s| (s.nll, s.n_scored)).collect();
        let n_scored = costs.iter().map(|(_, n)| n).sum();
        if n_scored == 0 {
            return Err(EvalError::EmptySamples {
                n_samples: samples.len(),
            });
        }
        let statistics: Vec<TextStatistics> = samples
            .iter()
            .filter_map(|sample| TextStatistics::of(&sample.tokens))
            .collect();
        let entropies: Vec<f64> = statistics.iter().map(|s| s.unigram_entropy).collect();
        let lengths: Vec<f64> = samples.iter().map(|s| s.tokens.len() as f64).collect();
        let tokens: Vec<&[u32]> = samples.iter().map(|s| &s.tokens[..]).collect();
        let distinct = distinct_ngrams(&tokens);
        let repetition = (0..distinct.len()).map(|i| {
            let shares: Vec<f64> = statistics
                .iter()
                .map(|statistics| statistics.repetition[i])
                .filter(|share| !share.is_nan())
                .collect();
            (!shares.is_empty()).then(|| Estimate::of_mean(&shares, seed))
        });
        let sum = |of: fn(&JudgedSample) -> f64| samples.iter().map(of).sum::<f64>();
        Ok(Self {
            generative_perplexity: Estimate::bootstrap(&costs, seed, |costs| {
                let (nll, n) = costs.fold((0.0, 0), |(nll, n), (cost, scored)| {
                    (nll + cost, n + scored)
                });
                (nll / n as f64).exp()
            }),
            unigram_entropy: Estimate::of_mean(&entropies, seed),
            repetition: repetition.collect(),
            distinct: distinct
                .map(|share| share.is_finite().then_some(share))
                .to_vec(),
            mean_length: Estimate::of_mean(&lengths, seed),
            n_samples: samples.len(),
            n_scored,
            network_evaluations: sum(|s| s.network_evaluations as f64) / samples.len() as f64,
            sampling_seconds: sum(|s| s.sampling_seconds),
            judging_seconds: sum(|s| s.judging_seconds),
            n_resamples: N_RESAMPLES,
        })
    }

    /// Head of the table that [`Self::markdown_row`] makes rows of.
    pub fn markdown_head(first: &str) -> String {
        let columns = [
            first,
            "generative perplexity",
            "unigram entropy (nats)",
            "distinct-1/2/3",
            "repetition-2/4",
            "tokens a sample",
            "samples",
            "network evaluations",
            "sampling (s)",
            "judging (s)",
        ];
        let rule = vec!["---"; columns.len()].join(" | ");
        format!("| {} |\n| {rule} |", columns.join(" | "))
    }

    /// A row of a Markdown table, `first` in its first column.
    pub fn markdown_row(&self, first: &str) -> String {
        let share =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        let repetition = |n: usize| share(self.repetition[n - 1].map(|estimate| estimate.value));
        let distinct: Vec<String> = self.distinct[..3]
            .iter()
            .map(|&value| share(value))
            .collect();
        let cells = [
            first.to_owned(),
            with_error(&self.generative_perplexity, 2),
            with_error(&self.unigram_entropy, 3),
            distinct.join(" / "),
            format!("{} / {}", repetition(2), repetition(4)),
            format!("{:.1}", self.mean_length.value),
            self.n_samples.to_string(),
            format!("{:.0}", self.network_evaluations),
            format!("{:.1}", self.sampling_seconds),
            format!("{:.1}", self.judging_seconds),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

fn with_error(estimate: &Estimate, digits: usize) -> String {
    match estimate.standard_error {
        Some(error) => format!("{:.digits$} ± {error:.digits$}", estimate.value),
        None => format!("{:.digits$}", estimate.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: usize, nll: f64, n_scored: usize, tokens: &[u32]) -> JudgedSample {
        JudgedSample {
            number,
            nll,
            n_scored,
            n_judge_tokens: n_scored + 1,
            network_evaluations: 4,
            sampling_seconds: 1.0,
            judging_seconds: 0.5,
            text: String::new(),
            tokens: tokens.to_vec(),
            feature: None,
        }
    }

    #[test]
    fn tokens_are_averaged_over_all_samples_and_entropies_over_samples() {
        let samples = [sample(0, 2.0, 1, &[1, 1]), sample(1, 1.0, 2, &[1, 2, 3, 4])];
        let report = GenerativeReport::of(&samples, 1).unwrap();
        // 3 nats for 3 tokens; entropies 0 and ln 4; 4 different ones of 6 tokens; half and none repeated.
        assert!((report.generative_perplexity.value - 1f64.exp()).abs() < 1e-12);
        assert!((report.unigram_entropy.value - 2f64.ln()).abs() < 1e-12);
        assert_eq!(report.distinct[0], Some(4.0 / 6.0));
        assert_eq!(report.repetition[0].unwrap().value, 0.25);
        assert_eq!((report.mean_length.value, report.n_scored), (3.0, 3));
        assert_eq!(
            (report.sampling_seconds, report.judging_seconds),
            (2.0, 1.0)
        );
        assert_eq!(report.network_evaluations, 4.0);
        assert!(report.generative_perplexity.standard_error.unwrap() > 0.0);
    }

    #[test]
    fn the_table_has_entropy_beside_perplexity() {
        let samples = [sample(0, 2.0, 2, &[1, 2])];
        let report = GenerativeReport::of(&samples, 1).unwrap();
        assert_eq!(
            report.markdown_row("x"),
            "| x | 2.72 | 0.693 | 1.000 / 1.000 / - | 0.000 / - | 2.0 | 1 | 4 | 1.0 | 0.5 |"
        );
        let head = GenerativeReport::markdown_head("steps");
        let columns = |line: &str| line.matches('|').count();
        for line in head.lines() {
            assert_eq!(columns(line), columns(&report.markdown_row("x")));
        }
    }

    #[test]
    fn samples_without_a_token_that_counts_are_an_error() {
        let error = GenerativeReport::of(&[sample(0, 0.0, 0, &[1])], 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "all 1 samples are empty; there is nothing to judge"
        );
    }
}
