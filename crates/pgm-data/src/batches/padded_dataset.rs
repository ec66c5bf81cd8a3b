use burn_dataset::{Dataset, DatasetError};

use crate::{DataError, PackingConfig, TokenSequence, TokenShard};

/// A shard's documents in rows of one length, one document a row, as LM1B is packed for diffusion language models.
///
/// A row is `[BOS] + the document's first tokens + [EOS]`, filled up with padding tokens at its end. What
/// a document has beyond `seq_len - 2` tokens is dropped. Padding is not valid: it counts in no loss and no
/// perplexity, though networks read it as they read any token.
///
/// # Reference
/// MDLM (arXiv 2406.07524), data of LM1B.
#[derive(Debug, Clone)]
pub struct PaddedDataset {
    shard: TokenShard,
    seq_len: usize,
    config: PackingConfig,
}

impl PaddedDataset {
    /// Rows of `seq_len` tokens, BOS and EOS included.
    ///
    /// # Errors
    /// When `seq_len` is below 3, BOS, EOS or padding is outside of the shard's vocabulary, or there is no document.
    pub fn new(
        shard: TokenShard,
        seq_len: usize,
        config: PackingConfig,
    ) -> Result<Self, DataError> {
        config.check(&shard, seq_len)?;
        if shard.n_documents() == 0 {
            return Err(DataError::TextTooShort {
                path: shard.path().to_path_buf(),
                n_tokens: 0,
                wanted: 1,
            });
        }
        Ok(Self {
            shard,
            seq_len,
            config,
        })
    }

    /// Tokens in a row, BOS, EOS and padding included.
    pub fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// The shard whose documents the rows are.
    pub fn shard(&self) -> &TokenShard {
        &self.shard
    }

    /// Tokens at the end of documents that their rows have no room for.
    pub fn n_dropped_tokens(&self) -> usize {
        let documents = 0..self.shard.n_documents();
        documents
            .map(|index| self.shard.document_range(index).len())
            .map(|n_tokens| n_tokens.saturating_sub(self.seq_len - 2))
            .sum()
    }
}

impl Dataset<TokenSequence> for PaddedDataset {
    fn get(&self, index: usize) -> Result<TokenSequence, DatasetError> {
        let document = self.shard.document_range(index);
        let n_text = document.len().min(self.seq_len - 2);
        let mut tokens = Vec::with_capacity(self.seq_len);
        tokens.push(self.config.bos_id);
        self.shard
            .read(document.start..document.start + n_text, &mut tokens);
        tokens.push(self.config.eos_id);
        let mut valid = vec![true; tokens.len()];
        tokens.resize(self.seq_len, self.config.pad_id);
        valid.resize(self.seq_len, false);
        Ok(TokenSequence { tokens, valid })
    }

    fn len(&self) -> usize {
        self.shard.n_documents()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardWriter;
    use proptest::prelude::*;

    const CONFIG: PackingConfig = PackingConfig {
        bos_id: 98,
        eos_id: 99,
        pad_id: 97,
    };

    fn shard(documents: &[Vec<u32>]) -> TokenShard {
        let folder = tempfile::tempdir().unwrap();
        let mut writer =
            ShardWriter::create(folder.path().join("a.tok"), 100, &"0".repeat(64)).unwrap();
        for document in documents {
            writer.push_document(document).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn documents_are_framed_cut_and_padded() {
        let shard = shard(&[vec![1, 2, 3], vec![], vec![4, 5, 6, 7]]);
        let dataset = PaddedDataset::new(shard, 5, CONFIG).unwrap();
        let rows: Vec<_> = dataset.iter().map(Result::unwrap).collect();
        assert_eq!(rows[0].tokens, [98, 1, 2, 3, 99]);
        assert_eq!(rows[0].valid, [true; 5]);
        assert_eq!(rows[1].tokens, [98, 99, 97, 97, 97]);
        assert_eq!(rows[1].valid, [true, true, false, false, false]);
        assert_eq!(rows[2].tokens, [98, 4, 5, 6, 99]);
    }

    #[test]
    fn what_cannot_be_padded_is_refused() {
        let new = |documents: &[Vec<u32>], seq_len, config| {
            PaddedDataset::new(shard(documents), seq_len, config)
        };
        assert!(matches!(
            new(&[vec![1]], 2, CONFIG),
            Err(DataError::InvalidSeqLen { got: 2 })
        ));
        assert!(matches!(
            new(&[], 4, CONFIG),
            Err(DataError::TextTooShort { n_tokens: 0, .. })
        ));
        let foreign = PackingConfig {
            pad_id: 100,
            ..CONFIG
        };
        assert!(matches!(
            new(&[vec![1]], 4, foreign),
            Err(DataError::TokenOutOfRange { token: 100, .. })
        ));
    }

    proptest! {
        #[test]
        fn a_row_is_its_document_s_start_and_nothing_else_is_valid(
            documents in proptest::collection::vec(proptest::collection::vec(0_u32..90, 0..12), 1..10),
            seq_len in 3_usize..9,
        ) {
            let dataset = PaddedDataset::new(shard(&documents), seq_len, CONFIG).unwrap();
            prop_assert_eq!(dataset.len(), documents.len());
            for (index, document) in documents.iter().enumerate() {
                let row = dataset.get(index).unwrap();
                prop_assert_eq!(row.tokens.len(), seq_len);
                let n_valid = row.valid.iter().filter(|&&valid| valid).count();
                prop_assert!(row.valid[..n_valid].iter().all(|&valid| valid));
                prop_assert_eq!(&row.tokens[1..n_valid - 1], &document[..n_valid - 2]);
                prop_assert_eq!(n_valid - 2, document.len().min(seq_len - 2));
                prop_assert!(row.tokens[n_valid..].iter().all(|&token| token == 97));
            }
        }
    }
}
