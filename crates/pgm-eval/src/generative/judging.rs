use std::ops::ControlFlow;
use std::time::Instant;

use pgm_data::Tokenizer;
use serde::{Deserialize, Serialize};

use super::feature_text::{FeatureText, judge_rows, read_with_features};
use super::results_file::{NumberedResult, ResultsFile};
use super::samples::{DrawnSample, SampleSource};
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
    /// Keep the judge's hidden state at the last token of this form of the text, for [`Mauve`](crate::Mauve).
    pub features: Option<FeatureText>,
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
    /// The same of the model's own tokens, where the judge has the same vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_tokens: Option<TokenCost>,
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
    /// The judge's last hidden state at the last token of a [`FeatureText`], if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Vec<f32>>,
}

/// How far an evaluation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgingProgress {
    /// Samples judged.
    pub n_judged: usize,
    /// Samples in all.
    pub n_samples: usize,
    /// Steps done and steps in all of drawing the next ones, while that goes on.
    pub drawing: Option<(usize, usize)>,
}

/// What tokens cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokenCost {
    /// Nats of the tokens that count.
    pub nll: f64,
    /// Tokens that count.
    pub n_scored: usize,
}

impl TokenCost {
    /// Of a row whose tokens but the first cost `costs`.
    fn from_costs(row: &[u32], costs: &[f64], eos: u32) -> Self {
        let counts = counted(row, eos);
        let counted = costs.iter().zip(counts).filter(|(_, counts)| *counts);
        let zero = Self {
            nll: 0.0,
            n_scored: 0,
        };
        counted.fold(zero, |sum, (cost, _)| Self {
            nll: sum.nll + cost,
            n_scored: sum.n_scored + 1,
        })
    }
}

impl JudgedSample {
    /// What its text costs, in the judge's tokens.
    pub fn text_cost(&self) -> TokenCost {
        TokenCost {
            nll: self.nll,
            n_scored: self.n_scored,
        }
    }
}

impl NumberedResult for JudgedSample {
    fn number(&self) -> usize {
        self.number
    }
}

impl GenerativePerplexity {
    /// Draws and judges the samples that `results` has not yet, and appends each batch as soon as it is judged;
    /// `progress` stops the work by breaking.
    ///
    /// # Errors
    /// When a setting is 0 or longer than the judge reads, samples cannot be drawn or judged, the results cannot be
    /// written, or the work is stopped.
    pub fn judge(
        &self,
        judge: &Judge,
        source: &mut dyn SampleSource,
        results: &mut ResultsFile,
        progress: &mut dyn FnMut(JudgingProgress) -> ControlFlow<()>,
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
            let heard = |n_judged, drawing| JudgingProgress {
                n_judged,
                n_samples: self.n_samples,
                drawing,
            };
            let drawn = source.draw(start..end, judge.tokenizer(), &mut |done, total| {
                progress(heard(start, Some((done, total))))
            })?;
            let batch = self.judge_batch(judge, drawn, start, source.tokenizer())?;
            results.append(batch)?;
            if progress(heard(end, None)).is_break() {
                return Err(EvalError::Interrupted);
            }
        }
        Ok(())
    }

    fn judge_batch(
        &self,
        judge: &Judge,
        drawn: Vec<DrawnSample>,
        first_number: usize,
        own: Option<&Tokenizer>,
    ) -> Result<Vec<JudgedSample>, EvalError> {
        let started = Instant::now();
        let texts: Vec<&str> = drawn.iter().map(|sample| sample.text.as_str()).collect();
        let rows = judge_rows(judge.tokenizer(), &texts, self.max_length)?;
        let eos = judge.tokenizer().eos_id();
        let read = match self.features {
            Some(text) => {
                let max_length = self.max_length;
                let of = text.rows(judge.tokenizer(), own, &drawn, &rows, max_length)?;
                read_with_features(judge, &rows, &of)?
            }
            None => judge.read(&rows, None)?,
        };
        let texts_cost = rows.iter().zip(&read);
        let texts_cost: Vec<TokenCost> = texts_cost
            .map(|(row, read)| TokenCost::from_costs(row, &read.costs, eos))
            .collect();
        let own_costs = if own.is_some_and(|own| own.has_vocabulary_of(judge.tokenizer())) {
            self.own_costs(judge, &drawn, &rows, &texts_cost)?
        } else {
            vec![None; drawn.len()]
        };
        let judging_seconds = started.elapsed().as_secs_f64() / drawn.len().max(1) as f64;
        let samples = (first_number..).zip(drawn).zip(rows.into_iter().zip(read));
        let costs = texts_cost.into_iter().zip(own_costs);
        let judged = samples.zip(costs).map(
            |(((number, drawn), (row, read)), (text_cost, own_tokens))| JudgedSample {
                number,
                nll: text_cost.nll,
                n_scored: text_cost.n_scored,
                own_tokens,
                n_judge_tokens: row.len(),
                network_evaluations: drawn.network_evaluations,
                sampling_seconds: drawn.seconds,
                judging_seconds,
                text: drawn.text,
                tokens: drawn.tokens.unwrap_or(row),
                feature: read.feature,
            },
        );
        Ok(judged.collect())
    }

    /// What the model's own tokens cost, which are read only where they differ from those of the text.
    fn own_costs(
        &self,
        judge: &Judge,
        drawn: &[DrawnSample],
        rows: &[Vec<u32>],
        texts_cost: &[TokenCost],
    ) -> Result<Vec<Option<TokenCost>>, EvalError> {
        let own_rows = drawn.iter().map(|sample| {
            let mut tokens = sample.tokens.clone()?;
            tokens.truncate(self.max_length);
            Some(tokens)
        });
        let own_rows: Vec<Option<Vec<u32>>> = own_rows.collect();
        let differs = |(own, row): &(&Option<Vec<u32>>, &Vec<u32>)| own.as_ref() != Some(*row);
        let differing = own_rows.iter().zip(rows).filter(differs);
        let differing: Vec<Vec<u32>> = differing.filter_map(|(own, _)| own.clone()).collect();
        let mut read = judge.token_nll(&differing)?.into_iter();
        let eos = judge.tokenizer().eos_id();
        let costs = own_rows.iter().zip(rows).zip(texts_cost);
        let costs = costs.map(|((own, row), &text_cost)| {
            let own = own.as_ref()?;
            if own == row {
                Some(text_cost)
            } else {
                read.next()
                    .map(|costs| TokenCost::from_costs(own, &costs, eos))
            }
        });
        Ok(costs.collect())
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
    use crate::generative::test_judge::judge_folder;
    use crate::generative::text_samples::TextSamples;

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
            features: Some(FeatureText::WithoutSpecialTokens),
        };
        let mut heard = Vec::new();
        evaluation
            .judge(&judge, &mut source, &mut results, &mut |progress| {
                heard.push((progress.n_judged, progress.n_samples));
                ControlFlow::Continue(())
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

    /// A model with the judge's vocabulary: one text in the judge's tokens, and one in letters.
    struct OwnTokens(Tokenizer);

    impl OwnTokens {
        fn tokens(&self, number: usize) -> Vec<u32> {
            let mut tokens = vec![self.0.bos_id()];
            let text = "use pgm_data";
            match number {
                0 => tokens.extend(self.0.encode(text).unwrap()),
                _ => tokens.extend(text.chars().flat_map(|letter| {
                    let letter = letter.to_string();
                    self.0.encode(&letter).unwrap()
                })),
            }
            tokens
        }
    }

    impl SampleSource for OwnTokens {
        fn draw(
            &mut self,
            numbers: std::ops::Range<usize>,
            _judge: &Tokenizer,
            _progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
        ) -> Result<Vec<DrawnSample>, EvalError> {
            let samples = numbers.map(|number| DrawnSample {
                text: "<|endoftext|>use pgm_data".to_owned(),
                tokens: Some(self.tokens(number)),
                network_evaluations: 1,
                seconds: 0.0,
            });
            Ok(samples.collect())
        }

        fn tokenizer(&self) -> Option<&Tokenizer> {
            Some(&self.0)
        }
    }

    #[test]
    fn own_tokens_cost_what_the_judge_says_of_them() {
        let judge_folder = judge_folder("gpt2");
        let judge = Judge::open(judge_folder.path(), &Device::flex()).unwrap();
        let mut source = OwnTokens(judge.tokenizer().clone());
        let (equal, letters) = (source.tokens(0), source.tokens(1));
        assert!(letters.len() > equal.len());
        let path = judge_folder.path().join("results");
        let mut results = ResultsFile::open(&path, &json!(1)).unwrap();
        let evaluation = GenerativePerplexity {
            n_samples: 2,
            batch_size: 2,
            max_length: 32,
            features: None,
        };
        evaluation
            .judge(&judge, &mut source, &mut results, &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
        let [first, second] = results.samples() else {
            panic!("two samples");
        };
        assert_eq!(first.own_tokens, Some(first.text_cost()));
        let own = second.own_tokens.unwrap();
        let costs = judge.token_nll(std::slice::from_ref(&letters)).unwrap();
        let expected: f64 = costs[0].iter().sum();
        assert_eq!(own.n_scored, letters.len() - 1);
        assert!((own.nll - expected).abs() < 1e-4 * expected);
        assert!((second.nll - first.nll).abs() < 1e-4 * first.nll);
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
