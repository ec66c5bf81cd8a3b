use std::ops::{ControlFlow, Range};

use burn::data::dataset::Dataset as _;
use pgm_data::{ShuffledBatches, TokenBatch, TokenDataset, Tokenizer};

use super::samples::{DrawnSample, SampleSource, in_words_of};
use crate::EvalError;

/// Written text in rows of a model's form, to compare drawn text with.
#[derive(Debug)]
pub struct HeldOutSamples<'a> {
    rows: &'a TokenDataset,
    tokenizer: &'a Tokenizer,
    order: Vec<usize>,
}

impl<'a> HeldOutSamples<'a> {
    /// The rows in an order that the seed decides.
    ///
    /// # Errors
    /// When there is no row.
    pub fn new(
        rows: &'a TokenDataset,
        tokenizer: &'a Tokenizer,
        seed: u64,
    ) -> Result<Self, EvalError> {
        let n_rows = rows.len();
        Ok(Self {
            rows,
            tokenizer,
            order: ShuffledBatches::new(n_rows, n_rows, seed)?.indices(0),
        })
    }

    /// Rows there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.order.len()
    }
}

impl SampleSource for HeldOutSamples<'_> {
    fn draw(
        &mut self,
        numbers: Range<usize>,
        judge: &Tokenizer,
        _progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Vec<DrawnSample>, EvalError> {
        let batch = TokenBatch::collect(self.rows, &self.order[numbers])?;
        let rows = batch.tokens.chunks(batch.seq_len);
        let samples = rows
            .zip(batch.valid.chunks(batch.seq_len))
            .map(|(tokens, valid)| {
                // Padding is no text.
                let end = valid.iter().rposition(|&is_valid| is_valid);
                let tokens = &tokens[..end.map_or(0, |last| last + 1)];
                Ok(DrawnSample {
                    text: in_words_of(judge, self.tokenizer, tokens)?,
                    tokens: Some(tokens.to_vec()),
                    network_evaluations: 0,
                    seconds: 0.0,
                })
            });
        samples.collect()
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        Some(self.tokenizer)
    }
}

#[cfg(test)]
mod tests {
    use pgm_data::{Packing, ShardWriter};

    use super::*;

    #[test]
    fn each_row_comes_once_and_padding_is_left_out() {
        let text = include_str!("held_out_samples.rs").to_owned();
        let tokenizer = Tokenizer::train_bpe([text].into_iter(), 300).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.tok");
        let mut writer =
            ShardWriter::create(path, tokenizer.vocab_size() as u32, tokenizer.fingerprint())
                .unwrap();
        for word in ["one", "two", "three", "four"] {
            writer
                .push_document(&tokenizer.encode(word).unwrap())
                .unwrap();
        }
        let shard = writer.finish().unwrap();
        let rows = Packing::Padded.rows(shard, 12, &tokenizer).unwrap();
        let mut source = HeldOutSamples::new(&rows, &tokenizer, 1).unwrap();
        assert_eq!(source.len(), 4);
        let mut draw = |numbers| {
            let drawn = source.draw(numbers, &tokenizer, &mut |_, _| ControlFlow::Continue(()));
            drawn.unwrap()
        };
        let together = draw(0..4);
        let apart = [draw(0..1), draw(1..4)].concat();
        assert_eq!(together, apart);
        let mut texts: Vec<String> = together.into_iter().map(|sample| sample.text).collect();
        texts.sort();
        let end = Tokenizer::END_OF_TEXT;
        assert_eq!(
            texts,
            ["four", "one", "three", "two"].map(|word| format!("{end}{word}{end}"))
        );
    }
}
