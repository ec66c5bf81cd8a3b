//! Tokenizers for the tiny weights among the golden values of `pgm-weights`.

use std::path::{Path, PathBuf};

/// The folder of the golden values.
pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pgm-weights/tests/golden")
}

/// Writes a tokenizer of `n_tokens`, without MASK: beginning, end, and single characters; all of ASCII are 100.
pub fn small_tokenizer(path: &Path, n_tokens: usize) {
    let characters = ('!'..='~').chain(['Ġ', 'Ċ', 'ĉ', 'č']).map(String::from);
    let tokens: Vec<String> = ["<s>", "</s>"]
        .map(str::to_owned)
        .into_iter()
        .chain(characters)
        .take(n_tokens)
        .collect();
    assert_eq!(tokens.len(), n_tokens);
    let tables = pgm_data::BpeTables {
        tokens,
        merges: Vec::new(),
        special: vec![0, 1],
        words: pgm_data::WordSplit::Gpt2,
    };
    let tokenizer =
        pgm_data::Tokenizer::from_bpe_tables("small", &tables).expect("tables that fit together");
    tokenizer
        .save(path)
        .expect("a tokenizer of bytes is written");
}
