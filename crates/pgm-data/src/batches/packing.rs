use burn_dataset::{Dataset, DatasetError};
use serde::{Deserialize, Serialize};

use crate::{DataError, PackedDataset, PaddedDataset, TokenSequence, TokenShard, Tokenizer};

/// How documents become rows of one length; `"concatenated"` or `"padded"` in a configuration file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Documents follow each other and fill every row, as OpenWebText is packed: [`PackedDataset`].
    #[default]
    Concatenated,
    /// One document a row, cut or padded, as LM1B is packed: [`PaddedDataset`].
    Padded,
}

impl Packing {
    /// The rows of `shard`, with `seq_len` tokens each, in the form of `self`.
    ///
    /// # Errors
    /// As [`PackedDataset::new`] and [`PaddedDataset::new`].
    pub fn rows(
        self,
        shard: TokenShard,
        seq_len: usize,
        tokenizer: &Tokenizer,
    ) -> Result<TokenDataset, DataError> {
        let config = PackingConfig::for_tokenizer(tokenizer);
        Ok(match self {
            Self::Concatenated => TokenDataset::Packed(PackedDataset::new(shard, seq_len, config)?),
            Self::Padded => TokenDataset::Padded(PaddedDataset::new(shard, seq_len, config)?),
        })
    }
}

/// Rows in either form of [`Packing`].
#[derive(Debug, Clone)]
pub enum TokenDataset {
    /// Documents one behind the other.
    Packed(PackedDataset),
    /// One document a row.
    Padded(PaddedDataset),
}

impl TokenDataset {
    /// The shard that the rows are made of.
    pub fn shard(&self) -> &TokenShard {
        match self {
            Self::Packed(rows) => rows.shard(),
            Self::Padded(rows) => rows.shard(),
        }
    }

    /// Tokens in a row, those that packing adds included.
    pub fn seq_len(&self) -> usize {
        match self {
            Self::Packed(rows) => rows.seq_len(),
            Self::Padded(rows) => rows.seq_len(),
        }
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.len()
    }

    /// Tokens that are in no row: at the end of the text, or of long documents.
    pub fn n_dropped_tokens(&self) -> usize {
        match self {
            Self::Packed(rows) => rows.n_dropped_tokens(),
            Self::Padded(rows) => rows.n_dropped_tokens(),
        }
    }
}

impl Dataset<TokenSequence> for TokenDataset {
    fn get(&self, index: usize) -> Result<TokenSequence, DatasetError> {
        match self {
            Self::Packed(rows) => rows.get(index),
            Self::Padded(rows) => rows.get(index),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Packed(rows) => rows.len(),
            Self::Padded(rows) => rows.len(),
        }
    }
}

/// The tokens that packing adds to the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackingConfig {
    /// Begins every row.
    pub bos_id: u32,
    /// Ends every document and every row.
    pub eos_id: u32,
    /// Fills rows up; counts in no loss.
    pub pad_id: u32,
}

impl PackingConfig {
    /// The beginning, end and padding of `tokenizer`; the end pads where it has no padding token.
    pub fn for_tokenizer(tokenizer: &Tokenizer) -> Self {
        Self {
            bos_id: tokenizer.bos_id(),
            eos_id: tokenizer.eos_id(),
            pad_id: tokenizer.pad_id().unwrap_or(tokenizer.eos_id()),
        }
    }

    /// Checks that rows of `seq_len` tokens have room for text, and that `shard` knows the tokens.
    pub(crate) fn check(&self, shard: &TokenShard, seq_len: usize) -> Result<(), DataError> {
        if seq_len < 3 {
            return Err(DataError::InvalidSeqLen { got: seq_len });
        }
        let tokens = [self.bos_id, self.eos_id, self.pad_id];
        match tokens
            .into_iter()
            .find(|&token| token as usize >= shard.vocab_size())
        {
            Some(token) => Err(DataError::TokenOutOfRange {
                path: shard.path().to_path_buf(),
                token,
                vocab_size: shard.vocab_size() as u32,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardWriter;

    #[test]
    fn the_two_forms_give_their_rows() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = Tokenizer::gpt2();
        let path = folder.path().join("a.tok");
        let mut writer = ShardWriter::create(path, 50257, tokenizer.fingerprint()).unwrap();
        writer.push_document(&[1, 2, 3]).unwrap();
        writer.push_document(&[4]).unwrap();
        let shard = writer.finish().unwrap();
        let rows = |packing: Packing| -> Vec<Vec<u32>> {
            let rows = packing.rows(shard.clone(), 4, &tokenizer).unwrap();
            (0..rows.len())
                .map(|index| rows.get(index).unwrap().tokens)
                .collect()
        };
        let dropped = |packing: Packing| {
            let rows = packing.rows(shard.clone(), 4, &tokenizer).unwrap();
            assert_eq!((rows.seq_len(), rows.shard().n_tokens()), (4, 4));
            rows.n_dropped_tokens()
        };
        let end = 50256;
        assert_eq!(
            rows(Packing::Concatenated),
            [[end, 1, 2, end], [end, 3, end, end], [end, 4, end, end]]
        );
        // GPT-2 has no padding token: the end of text pads.
        assert_eq!(
            rows(Packing::Padded),
            [[end, 1, 2, end], [end, 4, end, end]]
        );
        // 1 2 3 EOS 4 EOS fill three rows; a row for 1 2 3 has no room for the 3.
        assert_eq!(dropped(Packing::Concatenated), 0);
        assert_eq!(dropped(Packing::Padded), 1);
    }

    #[test]
    fn the_names_in_configurations_are_refused_when_misspelt() {
        #[derive(Debug, Deserialize)]
        struct Config {
            packing: Packing,
        }
        let read = |toml: &str| toml::from_str::<Config>(toml);
        assert_eq!(read("packing = 'padded'").unwrap().packing, Packing::Padded);
        let error = read("packing = 'pad'").unwrap_err().to_string();
        assert!(error.contains("`concatenated`"), "{error}");
    }
}
