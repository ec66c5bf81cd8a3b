use serde::{Deserialize, Serialize};

use super::bootstrap::{Estimate, N_RESAMPLES};
use super::judging::{JudgedSample, TokenCost};
use super::statistics::{TextStatistics, distinct_ngrams};
use crate::{EvalError, Mauve};

/// What the samples are worth. A generative perplexity says nothing without the entropy beside it: text that repeats
/// itself is likely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerativeReport {
    /// `exp` of the nats for each counted token of all samples.
    pub generative_perplexity: Estimate,
    /// The same of the model's own tokens, without tokenising its text anew; none where the judge's vocabulary is
    /// another, or the tokens are not known.
    pub own_tokens_perplexity: Option<Estimate>,
    /// Mean over samples of the entropy of their own token frequencies, in nats.
    pub unigram_entropy: Estimate,
    /// Different n-grams for each n-gram of all samples together, for n from 1; falls with the number of samples.
    pub distinct: Vec<Option<f64>>,
    /// Mean over samples of the share of n-grams that occurred before in the sample, for n from 1.
    pub repetition: Vec<Option<Estimate>>,
    /// Mean number of the model's tokens in a sample, BOS included.
    pub mean_length: Estimate,
    /// How close the texts lie to written text, if they were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mauve: Option<Mauve>,
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
    pub fn from_samples(samples: &[JudgedSample], seed: u64) -> Result<Self, EvalError> {
        let costs: Vec<TokenCost> = samples.iter().map(JudgedSample::text_cost).collect();
        let own_costs: Option<Vec<TokenCost>> = samples.iter().map(|s| s.own_tokens).collect();
        let n_scored = costs.iter().map(|cost| cost.n_scored).sum();
        if n_scored == 0 {
            return Err(EvalError::EmptySamples {
                n_samples: samples.len(),
            });
        }
        let statistics: Vec<TextStatistics> = samples
            .iter()
            .filter_map(|sample| TextStatistics::from_tokens(&sample.tokens))
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
            generative_perplexity: perplexity(&costs, seed),
            own_tokens_perplexity: own_costs.map(|costs| perplexity(&costs, seed)),
            unigram_entropy: Estimate::of_mean(&entropies, seed),
            repetition: repetition.collect(),
            distinct: distinct
                .map(|share| share.is_finite().then_some(share))
                .to_vec(),
            mean_length: Estimate::of_mean(&lengths, seed),
            mauve: None,
            n_samples: samples.len(),
            n_scored,
            network_evaluations: sum(|s| s.network_evaluations as f64) / samples.len() as f64,
            sampling_seconds: sum(|s| s.sampling_seconds),
            judging_seconds: sum(|s| s.judging_seconds),
            n_resamples: N_RESAMPLES,
        })
    }

    /// A Markdown table with a row for each report, named in a first column under `first`. Perplexity never stands
    /// there without entropy; a column in which no report has a value is left out.
    pub fn markdown_table(first: &str, reports: &[(String, &Self)]) -> String {
        let columns = COLUMNS.iter().filter_map(|(name, cell)| {
            let cells: Vec<Option<String>> =
                reports.iter().map(|(_, report)| cell(report)).collect();
            let has_value = cells.iter().any(Option::is_some);
            has_value.then_some((*name, cells))
        });
        let columns: Vec<(&str, Vec<Option<String>>)> = columns.collect();
        let line = |first: &str, cells: Vec<&str>| {
            let cells = [vec![first], cells].concat();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut table = line(first, columns.iter().map(|(name, _)| *name).collect());
        table += &line("---", vec!["---:"; columns.len()]);
        for (number, (name, _)) in reports.iter().enumerate() {
            let cells = columns.iter().map(|(_, cells)| cells[number].as_deref());
            table += &line(name, cells.map(|cell| cell.unwrap_or("-")).collect());
        }
        table
    }

    fn was_drawn(&self) -> bool {
        self.network_evaluations > 0.0
    }
}

/// What a report has to say under a heading, if it can.
type Cell = fn(&GenerativeReport) -> Option<String>;

const COLUMNS: [(&str, Cell); 12] = [
    ("generative perplexity", |report| {
        Some(with_error(&report.generative_perplexity, 2))
    }),
    ("unigram entropy (nats)", |report| {
        Some(with_error(&report.unigram_entropy, 3))
    }),
    ("perplexity on its own tokens", |report| {
        let own = report.own_tokens_perplexity.as_ref()?;
        Some(with_error(own, 2))
    }),
    ("MAUVE", |report| {
        let mauve = report.mauve.as_ref()?;
        Some(format!("{:.4} ± {:.4}", mauve.value, mauve.deviation))
    }),
    ("MAUVE*", |report| {
        let mauve = report.mauve.as_ref()?;
        Some(format!("{:.4} ± {:.4}", mauve.star, mauve.star_deviation))
    }),
    ("distinct-1/2/3", |report| {
        Some(shares(report.distinct[..3].iter().copied()))
    }),
    ("repetition-2/4", |report| {
        let of = |n: usize| report.repetition[n - 1].map(|estimate| estimate.value);
        Some(shares([of(2), of(4)].into_iter()))
    }),
    ("tokens a sample", |report| {
        Some(format!("{:.1}", report.mean_length.value))
    }),
    ("samples", |report| Some(report.n_samples.to_string())),
    ("network evaluations", |report| {
        let n = report.network_evaluations;
        report.was_drawn().then(|| format!("{n:.0}"))
    }),
    ("sampling (s)", |report| {
        let seconds = report.sampling_seconds;
        report.was_drawn().then(|| format!("{seconds:.1}"))
    }),
    ("judging (s)", |report| {
        Some(format!("{:.1}", report.judging_seconds))
    }),
];

fn shares(values: impl Iterator<Item = Option<f64>>) -> String {
    let shown = values.map(|value| match value {
        Some(value) => format!("{value:.3}"),
        None => "-".to_owned(),
    });
    shown.collect::<Vec<_>>().join(" / ")
}

/// `exp` of the nats for each token that counts.
fn perplexity(costs: &[TokenCost], seed: u64) -> Estimate {
    Estimate::bootstrap(costs, seed, |costs| {
        let (nll, n) = costs.fold((0.0, 0), |(nll, n), cost| {
            (nll + cost.nll, n + cost.n_scored)
        });
        (nll / n as f64).exp()
    })
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
            own_tokens: None,
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
        let report = GenerativeReport::from_samples(&samples, 1).unwrap();
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
        let mut report = GenerativeReport::from_samples(&samples, 1).unwrap();
        let table = GenerativeReport::markdown_table("steps", &[("x".to_owned(), &report)]);
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[0].starts_with("| steps | generative perplexity | unigram entropy (nats) |"),
            "{table}"
        );
        assert_eq!(
            lines[2],
            "| x | 2.72 | 0.693 | 1.000 / 1.000 / - | 0.000 / - | 2.0 | 1 | 4 | 1.0 | 0.5 |"
        );
        let without = report.clone();
        report.mauve = Some(Mauve {
            value: 0.5,
            deviation: 0.01,
            star: 0.6,
            star_deviation: 0.02,
            n_samples: 1,
            n_references: 1,
            n_clusters: 2,
            n_components: 1,
            n_seeds: 5,
        });
        let rows = [("a".to_owned(), &report), ("b".to_owned(), &without)];
        let table = GenerativeReport::markdown_table("steps", &rows);
        assert!(
            table.contains("| 0.5000 ± 0.0100 | 0.6000 ± 0.0200 |"),
            "{table}"
        );
        assert!(table.contains("| b | 2.72 | 0.693 | - | - |"), "{table}");
        let n_columns = |line: &str| line.matches('|').count();
        assert!(table.lines().all(|line| n_columns(line) == 13), "{table}");
    }

    #[test]
    fn own_tokens_have_a_perplexity_if_all_samples_know_theirs() {
        let mut samples = [sample(0, 2.0, 1, &[1, 1]), sample(1, 1.0, 2, &[1, 2])];
        samples[0].own_tokens = Some(TokenCost {
            nll: 6.0,
            n_scored: 2,
        });
        let report = GenerativeReport::from_samples(&samples, 1).unwrap();
        assert_eq!(report.own_tokens_perplexity, None);
        samples[1].own_tokens = Some(TokenCost {
            nll: 3.0,
            n_scored: 1,
        });
        let report = GenerativeReport::from_samples(&samples, 1).unwrap();
        let own = report.own_tokens_perplexity.unwrap();
        assert!((own.value - 3f64.exp()).abs() < 1e-9);
    }

    #[test]
    fn samples_without_a_token_that_counts_are_an_error() {
        let error = GenerativeReport::from_samples(&[sample(0, 0.0, 0, &[1])], 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "none of the 1 samples holds a token to judge behind its beginning; all are empty or a single token"
        );
    }
}
