use burn_dataset::{Dataset, DatasetError};

use crate::{DataError, PackingConfig, TokenShard};

/// One row of tokens for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSequence {
    /// The token ids.
    pub tokens: Vec<u32>,
    /// Which tokens count in the loss; as long as `tokens`.
    pub valid: Vec<bool>,
}

/// A shard's text in rows of one length, as OpenWebText is packed for diffusion language models.
///
/// The text is one stream: every document followed by EOS. A row is `[BOS] + (seq_len - 2) tokens of the
/// stream + [EOS]`; rows follow each other without overlap, the stream's last tokens that do not fill a row
/// are dropped, and every token is valid. Rows are cut out of the mapped shard when they are asked for.
///
/// # Reference
/// MDLM (arXiv 2406.07524), data of OpenWebText; there the remainder of each 1000 documents is dropped, here
/// of the whole shard.
#[derive(Debug, Clone)]
pub struct PackedDataset {
    shard: TokenShard,
    seq_len: usize,
    config: PackingConfig,
}

impl PackedDataset {
    /// Rows of `seq_len` tokens, BOS and EOS included.
    ///
    /// # Errors
    /// When `seq_len` is below 3, BOS or EOS is outside of the shard's vocabulary, or the text does not fill
    /// one row.
    pub fn new(
        shard: TokenShard,
        seq_len: usize,
        config: PackingConfig,
    ) -> Result<Self, DataError> {
        config.check(&shard, seq_len)?;
        let dataset = Self {
            shard,
            seq_len,
            config,
        };
        if dataset.len() == 0 {
            return Err(DataError::TextTooShort {
                path: dataset.shard.path().to_path_buf(),
                n_tokens: dataset.n_stream_tokens(),
                wanted: seq_len - 2,
            });
        }
        Ok(dataset)
    }

    /// Tokens in a row, BOS and EOS included.
    pub fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// The shard that the rows are cut from.
    pub fn shard(&self) -> &TokenShard {
        &self.shard
    }

    /// Tokens at the end of the text that fill no row.
    pub fn n_dropped_tokens(&self) -> usize {
        self.n_stream_tokens() % (self.seq_len - 2)
    }

    /// The text's tokens and one EOS a document.
    fn n_stream_tokens(&self) -> usize {
        self.shard.n_tokens() + self.shard.n_documents()
    }

    /// The first document whose tokens or EOS reach beyond `position` of the stream.
    fn document_at(&self, position: usize) -> usize {
        let (mut low, mut high) = (0, self.shard.n_documents());
        while low < high {
            let middle = low + (high - low) / 2;
            // In the stream, every document before has added its EOS.
            if self.shard.document_end(middle) + middle < position {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl Dataset<TokenSequence> for PackedDataset {
    fn get(&self, index: usize) -> Result<TokenSequence, DatasetError> {
        let n_rows = self.len();
        assert!(index < n_rows, "row {index} of a data set of {n_rows}");
        let n_text = self.seq_len - 2;
        let start = index * n_text;
        let mut document = self.document_at(start);
        let mut position = start - document;
        let mut tokens = Vec::with_capacity(self.seq_len);
        tokens.push(self.config.bos_id);
        while tokens.len() <= n_text {
            let end = self
                .shard
                .document_end(document)
                .min(position + n_text + 1 - tokens.len());
            self.shard.read(position..end, &mut tokens);
            position = end;
            if tokens.len() <= n_text {
                tokens.push(self.config.eos_id);
                document += 1;
            }
        }
        tokens.push(self.config.eos_id);
        Ok(TokenSequence {
            valid: vec![true; tokens.len()],
            tokens,
        })
    }

    fn len(&self) -> usize {
        self.n_stream_tokens() / (self.seq_len - 2)
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
        pad_id: 99,
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
    fn documents_are_joined_by_eos_and_rows_framed() {
        let shard = shard(&[vec![1, 2, 3], vec![], vec![4, 5, 6, 7]]);
        let dataset = PackedDataset::new(shard, 6, CONFIG).unwrap();
        // The stream: 1 2 3 99 | 99 4 5 6 | 7 99; the last two fill no row.
        let rows: Vec<_> = (0..dataset.len())
            .map(|index| dataset.get(index).unwrap().tokens)
            .collect();
        assert_eq!(rows, [[98, 1, 2, 3, 99, 99], [98, 99, 4, 5, 6, 99]]);
        assert_eq!(dataset.n_dropped_tokens(), 2);
        assert_eq!(dataset.get(0).unwrap().valid, [true; 6]);
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        let new = |seq_len, config| PackedDataset::new(shard(&[vec![1, 2]]), seq_len, config);
        assert!(matches!(
            new(2, CONFIG),
            Err(DataError::InvalidSeqLen { got: 2 })
        ));
        assert!(matches!(
            new(6, CONFIG),
            Err(DataError::TextTooShort {
                n_tokens: 3,
                wanted: 4,
                ..
            })
        ));
        let foreign = PackingConfig {
            bos_id: 100,
            ..CONFIG
        };
        assert!(matches!(
            new(3, foreign),
            Err(DataError::TokenOutOfRange { token: 100, .. })
        ));
        assert_eq!(new(5, CONFIG).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn rows_cover_the_stream_in_order(
            documents in proptest::collection::vec(proptest::collection::vec(0_u32..90, 0..12), 1..10),
            seq_len in 3_usize..9,
        ) {
            let stream: Vec<u32> = documents
                .iter()
                .flat_map(|document| document.iter().copied().chain([99]))
                .collect();
            match PackedDataset::new(shard(&documents), seq_len, CONFIG) {
                Err(_) => prop_assert!(stream.len() < seq_len - 2),
                Ok(dataset) => {
                    let mut text = Vec::new();
                    for index in 0..dataset.len() {
                        let row = dataset.get(index).unwrap().tokens;
                        prop_assert_eq!(row.len(), seq_len);
                        prop_assert_eq!((row[0], row[seq_len - 1]), (98, 99));
                        text.extend_from_slice(&row[1..seq_len - 1]);
                    }
                    prop_assert_eq!(text.len() + dataset.n_dropped_tokens(), stream.len());
                    prop_assert!(dataset.n_dropped_tokens() < seq_len - 2);
                    prop_assert_eq!(&text[..], &stream[..text.len()]);
                }
            }
        }
    }
}
