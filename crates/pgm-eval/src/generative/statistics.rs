use std::collections::HashMap;
use std::collections::HashSet;

/// Longest n-grams that are counted.
const LONGEST: usize = 4;

/// How varied the tokens of a text are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextStatistics {
    /// Entropy of the text's own token frequencies, in nats.
    pub unigram_entropy: f64,
    /// Share of n-grams that occurred before in the text, for n from 1 to 4; NaN for a text without any.
    pub repetition: [f64; LONGEST],
}

impl TextStatistics {
    /// Counts the tokens of one text; `None` if there is none.
    ///
    /// # Reference
    /// The entropy is that of MDLM's and PGM's tables; repetition is `seq-rep-n` of Welleck et al.
    /// (arXiv 1908.04319).
    pub fn from_tokens(tokens: &[u32]) -> Option<Self> {
        if tokens.is_empty() {
            return None;
        }
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for &token in tokens {
            *counts.entry(token).or_default() += 1;
        }
        // In a fixed order, so that the sum is the same in every run.
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable();
        let n_tokens = tokens.len() as f64;
        let entropy = counts.iter().map(|&count| {
            let share = count as f64 / n_tokens;
            -share * share.ln()
        });
        Some(Self {
            // A single token gives -0.
            unigram_entropy: entropy.sum::<f64>().max(0.0),
            repetition: std::array::from_fn(|i| 1.0 - distinct(&[tokens], i + 1)),
        })
    }
}

/// Different n-grams for each n-gram of all texts together (distinct-n), for n from 1 to 4; NaN without any.
///
/// # Reference
/// Li et al. (arXiv 1510.03055).
pub(super) fn distinct_ngrams(texts: &[&[u32]]) -> [f64; LONGEST] {
    std::array::from_fn(|i| distinct(texts, i + 1))
}

fn distinct(texts: &[&[u32]], n: usize) -> f64 {
    let mut seen = HashSet::new();
    let mut n_all = 0;
    for text in texts {
        for ngram in text.windows(n) {
            seen.insert(ngram);
            n_all += 1;
        }
    }
    seen.len() as f64 / n_all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_and_repetition_are_those_of_the_counts() {
        // Shares 1/2, 1/4, 1/4; bigrams 11 12 23; one of four tokens came before, no bigram did.
        let statistics = TextStatistics::from_tokens(&[1, 1, 2, 3]).unwrap();
        let expected = 0.5 * 2f64.ln() + 0.5 * 4f64.ln();
        assert!((statistics.unigram_entropy - expected).abs() < 1e-12);
        assert_eq!(statistics.repetition, [0.25, 0.0, 0.0, 0.0]);
        // Bigrams 12 21 12 21: half of them came before.
        assert_eq!(
            TextStatistics::from_tokens(&[1, 2, 1, 2, 1])
                .unwrap()
                .repetition[1],
            0.5
        );
        let single = TextStatistics::from_tokens(&[7]).unwrap();
        assert_eq!((single.unigram_entropy, single.repetition[0]), (0.0, 0.0));
        assert!(single.repetition[1].is_nan());
        assert_eq!(TextStatistics::from_tokens(&[]), None);
    }

    #[test]
    fn distinct_ngrams_are_counted_over_all_texts() {
        // Unigrams 1 2 1 2; bigrams 12 12, none across texts.
        let distinct = distinct_ngrams(&[&[1, 2], &[1, 2]]);
        assert_eq!((distinct[0], distinct[1]), (0.5, 0.5));
        assert!(distinct[2].is_nan());
    }
}
