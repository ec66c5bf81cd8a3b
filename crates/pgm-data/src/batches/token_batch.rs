use std::error::Error;

use burn_dataset::Dataset;

use crate::{DataError, TokenSequence};

/// Rows of equal length, one behind the other, ready to become a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Token ids, row-major: `[batch_size, seq_len]`.
    pub tokens: Vec<u32>,
    /// Which tokens count in the loss: `[batch_size, seq_len]`.
    pub valid: Vec<bool>,
    /// Rows.
    pub batch_size: usize,
    /// Tokens in a row.
    pub seq_len: usize,
}

impl TokenBatch {
    /// Reads the items `indices` of `dataset`, in this order; an item may occur more than once.
    ///
    /// # Errors
    /// When the data set cannot read an item.
    ///
    /// # Panics
    /// When `indices` is empty, an index is not below `dataset.len()`, or rows differ in length.
    pub fn collect<E>(
        dataset: &(impl Dataset<TokenSequence, E> + ?Sized),
        indices: &[usize],
    ) -> Result<Self, DataError>
    where
        E: Error + Send + Sync + 'static,
    {
        assert!(!indices.is_empty(), "a batch has at least one row");
        let mut batch = Self {
            tokens: Vec::new(),
            valid: Vec::new(),
            batch_size: indices.len(),
            seq_len: 0,
        };
        for (row, &index) in indices.iter().enumerate() {
            let sequence = dataset.get(index).map_err(|reason| DataError::Dataset {
                index,
                reason: Box::new(reason),
            })?;
            if row == 0 {
                batch.seq_len = sequence.tokens.len();
                batch.tokens.reserve(indices.len() * batch.seq_len);
                batch.valid.reserve(indices.len() * batch.seq_len);
            }
            assert_eq!(
                (sequence.tokens.len(), sequence.valid.len()),
                (batch.seq_len, batch.seq_len),
                "row {row} of a batch, item {index}, differs in length from the first"
            );
            batch.tokens.extend(sequence.tokens);
            batch.valid.extend(sequence.valid);
        }
        Ok(batch)
    }

    /// Tokens that count in the loss.
    pub fn n_valid(&self) -> usize {
        self.valid.iter().filter(|&&is_valid| is_valid).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_dataset::{DatasetError, InMemDataset};

    fn row(tokens: &[u32]) -> TokenSequence {
        TokenSequence {
            tokens: tokens.to_vec(),
            valid: tokens.iter().map(|&token| token != 0).collect(),
        }
    }

    #[test]
    fn rows_come_in_the_order_asked_for() {
        let dataset = InMemDataset::new(vec![row(&[1, 2]), row(&[3, 0])]);
        let batch = TokenBatch::collect(&dataset, &[1, 0, 1]).unwrap();
        assert_eq!(batch.tokens, [3, 0, 1, 2, 3, 0]);
        assert_eq!(batch.valid, [true, false, true, true, true, false]);
        assert_eq!(
            (batch.batch_size, batch.seq_len, batch.n_valid()),
            (3, 2, 4)
        );
    }

    #[test]
    #[should_panic(expected = "row 1 of a batch, item 1, differs in length")]
    fn ragged_rows_panic() {
        let dataset = InMemDataset::new(vec![row(&[1, 2]), row(&[3])]);
        let _ = TokenBatch::collect(&dataset, &[0, 1]);
    }

    #[test]
    fn the_data_sets_error_is_passed_on() {
        struct Broken;
        impl Dataset<TokenSequence> for Broken {
            fn get(&self, _: usize) -> Result<TokenSequence, DatasetError> {
                Err(DatasetError::new(std::io::Error::other("unplugged")))
            }
            fn len(&self) -> usize {
                1
            }
        }
        let error = TokenBatch::collect(&Broken, &[0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read item 0 of the data set: unplugged"
        );
    }
}
