use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::results_file::{NumberedResult, ResultsFile};
use super::samples::SampleSource;
use crate::{EvalError, Judge};

/// Has a judge say how likely samples are.
///
/// # Reference
/// As the code of MDLM (arXiv 2406.07524) and PGM does: the text, tokens for its beginning and end spelled out, is
/// tokenised anew, cut to `max_length` tokens, and all tokens but the first count that are no EOS or the first EOS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerativePerplexity {
    /// Samples to judge.
    pub n_samples: usize,
    /// Samples drawn and judged at once; the result does not depend on it, but for rounding.
    pub batch_size: usize,
    /// Judge's tokens that are read of a text, BOS included.
    pub max_length: usize,
    /// Keep the judge's hidden state at the last token, for [`Mauve`](crate::Mauve).
    pub with_features: bool,
}

/// A sample and what the judge says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedSample {
    /// Its number, from 0.
    pub number: usize,
    /// Nats of the tokens that count.
    pub nll: f64,
    /// Judge's tokens that count.
    pub n_scored: usize,
    /// Judge's tokens that were read, BOS included.
    pub n_judge_tokens: usize,
    /// Network evaluations of the model.
    pub network_evaluations: usize,
    /// Its share of the time that drawing took.
    pub sampling_seconds: f64,
    /// Its share of the time that judging took.
    pub judging_seconds: f64,
    /// The text.
    pub text: String,
    /// The model's tokens; the judge's, if they are not known.
    pub tokens: Vec<u32>,
    /// The judge's last hidden state at the last token that was read, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Vec<f32>>,
}

impl NumberedResult for JudgedSample {
    fn number(&self) -> usize {
        self.number
    }
}

impl GenerativePerplexity {
    /// Draws and judges the samples that `results` has not yet, and appends each batch as soon as it is judged;
    /// `progress` hears of samples done and of all, and stops the work by returning false.
    ///
    /// # Errors
    /// When a setting is 0 or longer than the judge reads, samples cannot be drawn or judged, the results cannot be
    /// written, or the work is stopped.
    pub fn judge(
        &self,
        judge: &Judge,
        source: &mut dyn SampleSource,
        results: &mut ResultsFile,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<(), EvalError> {
        for (name, value) in [
            ("n_samples", self.n_samples),
            ("batch_size", self.batch_size),
        ] {
            if value == 0 {
                return Err(EvalError::Zero { name });
            }
        }
        if !(2..=judge.context_length()).contains(&self.max_length) {
            return Err(EvalError::MaxLength {
                found: self.max_length,
                longest: judge.context_length(),
            });
        }
        while results.samples().len() < self.n_samples {
            let start = results.samples().len();
            let end = (start + self.batch_size).min(self.n_samples);
            let batch = self.judge_batch(judge, source, start..end)?;
            results.append(batch)?;
            if !progress(end, self.n_samples) {
                return Err(EvalError::Interrupted);
            }
        }
        Ok(())
    }

    fn judge_batch(
        &self,
        judge: &Judge,
        source: &mut dyn SampleSource,
        numbers: std::ops::Range<usize>,
    ) -> Result<Vec<JudgedSample>, EvalError> {
        let drawn = source.draw(numbers.clone(), judge.tokenizer())?;
        let started = Instant::now();
        let texts: Vec<&str> = drawn.iter().map(|sample| sample.text.as_str()).collect();
        let mut rows = judge.tokenizer().encode_batch(&texts)?;
        let (bos, eos) = (judge.tokenizer().bos_id(), judge.tokenizer().eos_id());
        for row in &mut rows {
            if row.first() != Some(&bos) {
                row.insert(0, bos);
            }
            row.truncate(self.max_length);
        }
        let read = judge.read(&rows, self.with_features)?;
        let judging_seconds = started.elapsed().as_secs_f64() / drawn.len().max(1) as f64;
        let samples = numbers.zip(drawn).zip(rows.into_iter().zip(read));
        let judged = samples.map(|((number, drawn), (row, read))| {
            let counts = counted(&row, eos);
            let counted = read
                .costs
                .iter()
                .zip(&counts)
                .filter(|(_, counts)| **counts);
            let (nll, n_scored) = counted.fold((0.0, 0), |(sum, n), (cost, _)| (sum + cost, n + 1));
            JudgedSample {
                number,
                nll,
                n_scored,
                n_judge_tokens: row.len(),
                network_evaluations: drawn.network_evaluations,
                sampling_seconds: drawn.seconds,
                judging_seconds,
                text: drawn.text,
                tokens: drawn.tokens.unwrap_or(row),
                feature: read.feature,
            }
        });
        Ok(judged.collect())
    }
}

/// Which tokens behind the first one count: what is no EOS, and the first EOS of the row. A row that begins with
/// EOS, as all of GPT-2 do, has had its first one.
fn counted(row: &[u32], eos: u32) -> Vec<bool> {
    let first_eos = row.iter().position(|&token| token == eos);
    let tokens = row.iter().enumerate().skip(1);
    tokens
        .map(|(position, &token)| token != eos || Some(position) == first_eos)
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::generative::samples::TextSamples;
    use crate::generative::test_judge::judge_folder;

    const TEXTS: &str = "use pgm_data\n\
        one text <|endoftext|> and <|endoftext|> another\n\
        a\n\
        <|endoftext|>it begins with the token\n";

    fn judged(batch_size: usize, max_length: usize) -> Vec<JudgedSample> {
        let judge_folder = judge_folder("gpt2");
        let judge = Judge::open(judge_folder.path(), &Device::flex()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.txt");
        std::fs::write(&path, TEXTS).unwrap();
        let mut source = TextSamples::read(&path).unwrap();
        let mut results = ResultsFile::open(&folder.path().join("results"), &json!(1)).unwrap();
        let evaluation = GenerativePerplexity {
            n_samples: source.len(),
            batch_size,
            max_length,
            with_features: true,
        };
        let mut heard = Vec::new();
        evaluation
            .judge(&judge, &mut source, &mut results, &mut |done, total| {
                heard.push((done, total));
                true
            })
            .unwrap();
        assert_eq!(heard.last(), Some(&(4, 4)));
        results.samples().to_vec()
    }

    #[test]
    fn samples_cost_the_same_whatever_the_batch_size() {
        let alone = judged(1, 32);
        for batch_size in [2, 3, 8] {
            let together = judged(batch_size, 32);
            for (a, b) in alone.iter().zip(&together) {
                assert!((a.nll - b.nll).abs() < 1e-4 * a.nll, "{} {}", a.nll, b.nll);
                assert_eq!((a.n_scored, &a.tokens), (b.n_scored, &b.tokens));
                let features = |s: &JudgedSample| s.feature.clone().unwrap();
                let (a, b) = (features(a), features(b));
                assert!(a.len() == b.len() && a.iter().any(|x| x.abs() > 0.1));
                assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4));
            }
        }
        assert!(alone.iter().all(|sample| sample.nll > 1.0));
    }

    #[test]
    fn texts_begin_with_one_bos_and_are_cut() {
        let judged = judged(2, 10);
        for sample in &judged {
            // `<|endoftext|>` is token 0 of a learned tokenizer.
            assert_eq!(sample.tokens[0], 0);
            assert_ne!(sample.tokens[1], 0);
            assert!(sample.tokens.len() <= 10);
            assert_eq!(sample.n_judge_tokens, sample.tokens.len());
        }
        assert_eq!(judged[2].n_scored, 1);
    }

    #[test]
    fn all_but_the_first_token_count_and_eos_once() {
        let (bos, eos) = (1, 9);
        assert_eq!(
            counted(&[bos, 5, eos, 5, eos], eos),
            [true, true, true, false]
        );
        assert_eq!(counted(&[eos, 5, eos, 5], eos), [true, false, true]);
        assert_eq!(counted(&[eos], eos), [false; 0]);
    }
}
