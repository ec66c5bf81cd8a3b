use std::path::PathBuf;

use pgm_data::{Corpus, DocumentSplit, PrepareConfig, TokenizerSpec, ValidationSplit};
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
    /// Tokens of a sequence, BOS and EOS included.
    pub seq_len: usize,
    /// What is held out.
    #[serde(default = "default_validation")]
    pub validation: ValidationSplit,
    /// What a document is in `.txt` files; in `.jsonl` files it is a line.
    #[serde(default)]
    pub split: DocumentSplit,
    /// The field of `.jsonl` lines that holds the text.
    #[serde(default = "default_text_field")]
    pub text_field: String,
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

impl DataSection {
    /// The preparation of this text in `output`.
    pub fn prepare_config(&self, output: PathBuf) -> PrepareConfig {
        PrepareConfig {
            inputs: self.inputs.clone(),
            tokenizer: self.tokenizer.clone(),
            validation: self.validation,
            split: self.split.clone(),
            text_field: self.text_field.clone(),
            output,
        }
    }
}
