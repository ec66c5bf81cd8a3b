use pgm_data::Tokenizer;
use serde::{Deserialize, Serialize};

use super::samples::DrawnSample;
use crate::{EvalError, Judge, JudgedRow};

/// Of which text [`Mauve`](crate::Mauve) takes the features: they are the judge's last hidden states at its last token.
///
/// A row of packed text ends in EOS. A state at EOS says little of the text before it, so that texts whose words are
/// shuffled lie close to the written ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureText {
    /// The words alone, behind the judge's BOS: what special tokens leave is tokenised anew.
    ///
    /// # Reference
    /// The code of MAUVE (arXiv 2102.01454), whose `decode_samples_from_lst` leaves special tokens out.
    #[default]
    WithoutSpecialTokens,
    /// The text as it is scored, tokens for beginning and end spelled out.
    ///
    /// # Reference
    /// The code of ReMDM (arXiv 2503.00307), which decodes with special tokens.
    WithSpecialTokens,
}

impl FeatureText {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::WithoutSpecialTokens => "without special tokens",
            Self::WithSpecialTokens => "with special tokens",
        }
    }

    /// The judge's tokens of each text whose last one gives the feature; `scored` are the rows that are scored.
    pub(super) fn rows(
        self,
        judge: &Tokenizer,
        own: Option<&Tokenizer>,
        drawn: &[DrawnSample],
        scored: &[Vec<u32>],
        max_length: usize,
    ) -> Result<Vec<Vec<u32>>, EvalError> {
        match self {
            Self::WithSpecialTokens => Ok(scored.to_vec()),
            Self::WithoutSpecialTokens => {
                let words = drawn.iter().map(|sample| words_of(judge, own, sample));
                let words: Vec<String> = words.collect::<Result<_, _>>()?;
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                judge_rows(judge, &words, max_length)
            }
        }
    }
}

/// The judge's tokens of each text, behind one BOS, cut to `max_length`.
pub(super) fn judge_rows(
    judge: &Tokenizer,
    texts: &[&str],
    max_length: usize,
) -> Result<Vec<Vec<u32>>, EvalError> {
    let bos = judge.bos_id();
    let mut rows = judge.encode_batch(texts)?;
    for row in &mut rows {
        if row.first() != Some(&bos) {
            row.insert(0, bos);
        }
        row.truncate(max_length);
    }
    Ok(rows)
}

/// Reads rows, and takes features at the last tokens of `feature_rows`: in the same pass for those that a row begins
/// with, as the judge reads from left to right; others are read by themselves.
pub(super) fn read_with_features(
    judge: &Judge,
    rows: &[Vec<u32>],
    feature_rows: &[Vec<u32>],
) -> Result<Vec<JudgedRow>, EvalError> {
    let begins = |(row, features): (&Vec<u32>, &Vec<u32>)| row.starts_with(features);
    let last = |row: &Vec<u32>| row.len() - 1;
    let pairs = rows.iter().zip(feature_rows);
    let at = pairs
        .clone()
        .map(|pair| if begins(pair) { last(pair.1) } else { 0 });
    let mut read = judge.read(rows, Some(&at.collect::<Vec<_>>()))?;
    let apart = pairs.enumerate().filter(|(_, pair)| !begins(*pair));
    let (numbers, apart): (Vec<usize>, Vec<Vec<u32>>) = apart
        .map(|(number, (_, features))| (number, features.clone()))
        .unzip();
    let at: Vec<usize> = apart.iter().map(last).collect();
    for (number, again) in numbers.into_iter().zip(judge.read(&apart, Some(&at))?) {
        read[number].feature = again.feature;
    }
    Ok(read)
}

/// The words of a sample: of its own tokens where they can be decoded.
fn words_of(
    judge: &Tokenizer,
    own: Option<&Tokenizer>,
    sample: &DrawnSample,
) -> Result<String, EvalError> {
    Ok(match (own, &sample.tokens) {
        (Some(own), Some(tokens)) => judge.without_special_tokens(&own.decode_words(tokens)?),
        _ => judge.without_special_tokens(&sample.text),
    })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use burn::tensor::Device;
    use pgm_data::{Packing, ShardWriter};
    use serde_json::json;

    use super::*;
    use crate::generative::test_judge::judge_folder;
    use crate::{GenerativePerplexity, HeldOutSamples, ResultsFile, SampleSource, TextSamples};

    /// Features of the first texts of a source.
    fn features(
        judge: &Judge,
        source: &mut dyn SampleSource,
        n_samples: usize,
        text: FeatureText,
    ) -> Vec<Vec<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let mut results = ResultsFile::open(&path, &json!(text)).unwrap();
        let evaluation = GenerativePerplexity {
            n_samples,
            batch_size: 2,
            max_length: 32,
            features: Some(text),
        };
        evaluation
            .judge(judge, source, &mut results, &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
        let samples = results.samples().iter();
        samples.map(|s| s.feature.clone().unwrap()).collect()
    }

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
    }

    /// The state behind BOS and the text.
    fn state_at_the_end(judge: &Judge, text: &str) -> Vec<f32> {
        let tokenizer = judge.tokenizer();
        let row = [vec![tokenizer.bos_id()], tokenizer.encode(text).unwrap()].concat();
        let at = row.len() - 1;
        let mut read = judge.read(&[row], Some(&[at])).unwrap();
        read.swap_remove(0).feature.unwrap()
    }

    #[test]
    fn a_packed_row_has_the_feature_of_its_text_without_eos() {
        let folder = judge_folder("gpt2");
        let judge = Judge::open(folder.path(), &Device::flex()).unwrap();
        let tokenizer = judge.tokenizer();
        let path = folder.path().join("rows.tok");
        let (size, fingerprint) = (tokenizer.vocab_size() as u32, tokenizer.fingerprint());
        let mut writer = ShardWriter::create(path, size, fingerprint).unwrap();
        // Rows of 12 tokens, BOS and EOS among them; EOS stands between documents, too.
        for document in [
            "use Mauve",
            "fn judge",
            "let text",
            "Path",
            "samples of a mod",
        ] {
            writer
                .push_document(&tokenizer.encode(document).unwrap())
                .unwrap();
        }
        let shard = writer.finish().unwrap();
        let rows = Packing::Concatenated.rows(shard, 12, tokenizer).unwrap();
        let n_rows = rows.n_rows();
        assert!(n_rows > 2);
        let mut source = HeldOutSamples::new(&rows, tokenizer, 1).unwrap();
        let drawn = source
            .draw(0..n_rows, tokenizer, &mut |_, _| ControlFlow::Continue(()))
            .unwrap();
        let found = features(
            &judge,
            &mut source,
            n_rows,
            FeatureText::WithoutSpecialTokens,
        );
        let spelled = features(&judge, &mut source, n_rows, FeatureText::WithSpecialTokens);
        let mut has_eos_inside = false;
        for (number, sample) in drawn.iter().enumerate() {
            let tokens = sample.tokens.as_ref().unwrap();
            let end = tokenizer.eos_id();
            assert_eq!((tokens[0], tokens[11]), (end, end));
            has_eos_inside |= tokens[1..11].contains(&end);
            let text = tokenizer
                .decode(tokens)
                .unwrap()
                .replace("<|endoftext|>", "");
            let wanted = state_at_the_end(&judge, &text);
            assert!(distance(&found[number], &wanted) < 1e-3, "{text}");
            assert!(distance(&found[number], &spelled[number]) > 1.0, "{text}");
        }
        assert!(has_eos_inside);
    }

    #[test]
    fn special_tokens_of_a_file_are_no_words() {
        let folder = judge_folder("gpt2");
        let judge = Judge::open(folder.path(), &Device::flex()).unwrap();
        let path = folder.path().join("texts.txt");
        let end = Tokenizer::END_OF_TEXT;
        let texts = format!("use Mauve\n{end}use Mauve{end}\n{end}use {end}Mauve\n{end}{end}\n");
        std::fs::write(&path, texts).unwrap();
        let mut source = TextSamples::read(&path).unwrap();
        let found = features(&judge, &mut source, 4, FeatureText::WithoutSpecialTokens);
        let wanted = state_at_the_end(&judge, "use Mauve");
        for feature in &found[..3] {
            assert!(distance(feature, &wanted) < 1e-3);
        }
        // An empty text keeps its place, with the state at BOS.
        assert!(distance(&found[3], &state_at_the_end(&judge, "")) < 1e-3);
    }

    #[test]
    fn long_texts_have_the_feature_of_the_last_token_that_is_read() {
        let folder = judge_folder("gpt2");
        let judge = Judge::open(folder.path(), &Device::flex()).unwrap();
        let path = folder.path().join("texts.txt");
        std::fs::write(&path, "use Mauve ".repeat(30)).unwrap();
        let mut source = TextSamples::read(&path).unwrap();
        let tokens = judge.tokenizer().encode(&"use Mauve ".repeat(30)).unwrap();
        let cut = judge.tokenizer().decode(&tokens[..31]).unwrap();
        let wanted = state_at_the_end(&judge, &cut);
        for text in [
            FeatureText::WithoutSpecialTokens,
            FeatureText::WithSpecialTokens,
        ] {
            let found = features(&judge, &mut source, 1, text);
            assert!(distance(&found[0], &wanted) < 1e-3);
        }
    }
}
