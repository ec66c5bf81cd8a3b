use std::path::PathBuf;

use pgm_data::{
    BadLines, Corpus, DataError, DocumentSplit, Packing, PrepareConfig, SpecialTokenChoice,
    TokenDataset, TokenShard, Tokenizer, TokenizerSpec, ValidationSplit,
};
use serde::{Deserialize, Serialize};

/// The text and how it is cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Text files (`.txt`, `.jsonl`, either with `.gz` or `.zst` behind) and folders; `bundled` is the text that
    /// comes with the project.
    pub inputs: Vec<PathBuf>,
    /// `gpt2`, `bpe-<size>` (learned from the text) or a path to a `tokenizer.json`.
    pub tokenizer: TokenizerSpec,
    /// `{ bos = "<s>", eos = 2 }`, also `mask` and `pad`: special tokens that the tokenizer's files do not tell, or tell
    /// wrongly; as the vocabulary spells them, or their ids.
    #[serde(default, skip_serializing_if = "SpecialTokenChoice::is_empty")]
    pub special_tokens: SpecialTokenChoice,
    /// Go on where the tokenizer does not keep all of the text: it drops characters, or has an unknown token for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_lossy_tokenizer: bool,
    /// Tokens of a sequence, BOS and EOS included.
    pub seq_len: usize,
    /// `concatenated`: documents fill every sequence; `padded`: one document a sequence.
    #[serde(default)]
    pub packing: Packing,
    /// What is held out.
    #[serde(default = "default_validation")]
    pub validation: ValidationSplit,
    /// What a document is in `.txt` files; in `.jsonl` files it is a line.
    #[serde(default)]
    pub split: DocumentSplit,
    /// The field of `.jsonl` lines that holds the text.
    #[serde(default = "default_text_field")]
    pub text_field: String,
    /// What becomes of `.jsonl` lines that are no documents: `refuse` (the first one is an error) or `skip`, with a
    /// count.
    #[serde(default)]
    pub bad_lines: BadLines,
    /// Threads that make batches ahead of time; 0 makes them in the training thread. The batches are the same.
    #[serde(default = "default_workers")]
    pub workers: usize,
    /// Where prepared tokens are kept, to be shared by runs; the run's own folder by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

fn default_validation() -> ValidationSplit {
    ValidationSplit::Fraction(0.05)
}

fn default_text_field() -> String {
    Corpus::TEXT_FIELD.to_string()
}

fn default_workers() -> usize {
    2
}

impl DataSection {
    /// This text in sequences of `seq_len` tokens; all else has its default.
    pub fn new(inputs: Vec<PathBuf>, tokenizer: TokenizerSpec, seq_len: usize) -> Self {
        Self {
            inputs,
            tokenizer,
            special_tokens: SpecialTokenChoice::default(),
            allow_lossy_tokenizer: false,
            seq_len,
            packing: Packing::default(),
            validation: default_validation(),
            split: DocumentSplit::default(),
            text_field: default_text_field(),
            bad_lines: BadLines::default(),
            workers: default_workers(),
            folder: None,
        }
    }

    /// Sequences cut out of prepared tokens.
    ///
    /// # Errors
    /// When the text does not fill one sequence.
    pub fn rows(
        &self,
        shard: &TokenShard,
        tokenizer: &Tokenizer,
    ) -> Result<TokenDataset, DataError> {
        self.packing.rows(shard.clone(), self.seq_len, tokenizer)
    }

    /// The preparation of this text in `output`.
    pub fn prepare_config(&self, output: PathBuf) -> PrepareConfig {
        PrepareConfig {
            inputs: self.inputs.clone(),
            tokenizer: self.tokenizer.clone(),
            validation: self.validation,
            split: self.split.clone(),
            text_field: self.text_field.clone(),
            bad_lines: self.bad_lines,
            special_tokens: self.special_tokens.clone(),
            allow_lossy_tokenizer: self.allow_lossy_tokenizer,
            output,
        }
    }
}
