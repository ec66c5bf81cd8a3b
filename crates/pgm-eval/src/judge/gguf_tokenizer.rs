use std::path::Path;

use pgm_data::{
    BpeTables, DeclaredToken, SpecialTokenChoice, TokenName, TokenRole, TokenSource, Tokenizer,
    WordSplit,
};
use pgm_model::weights::GgufFile;

use super::JudgeError;

/// Token types of GGUF that stand for no text: control and unknown.
const SPECIAL_TYPES: [i128; 2] = [2, 3];

/// Special tokens that the header names.
const SPECIAL_KEYS: [(TokenRole, &str); 4] = [
    (TokenRole::Bos, "tokenizer.ggml.bos_token_id"),
    (TokenRole::Eos, "tokenizer.ggml.eos_token_id"),
    (TokenRole::Mask, "tokenizer.ggml.mask_token_id"),
    (TokenRole::Pad, "tokenizer.ggml.padding_token_id"),
];

/// The tokenizer in the header of a file; a choice of special tokens goes before what the header says.
pub(super) fn read(
    file: &GgufFile,
    path: &Path,
    choice: &SpecialTokenChoice,
) -> Result<Tokenizer, JudgeError> {
    let failed = |reason: String| JudgeError::GgufTokenizer {
        path: path.to_path_buf(),
        reason,
    };
    let missing = |key: &str| failed(format!("its header has no `{key}` of the right type"));
    let (model, words) = ("tokenizer.ggml.model", "tokenizer.ggml.pre");
    match file.text(model).ok_or_else(|| missing(model))? {
        "gpt2" => {}
        other => {
            return Err(failed(format!(
                "`{model}` is `{other}`, wanted `gpt2`, a byte-level BPE"
            )));
        }
    }
    let words = match file.text(words) {
        Some("gpt-2") => WordSplit::Gpt2,
        Some("smollm") => WordSplit::SingleDigits,
        Some("llama-bpe") => WordSplit::Llama3,
        other => {
            let other = other.unwrap_or("missing");
            return Err(failed(format!(
                "`{words}` is `{other}`, wanted `gpt-2`, `smollm` or `llama-bpe`"
            )));
        }
    };
    let texts = |key: &str| {
        let texts = file.texts(key).ok_or_else(|| missing(key))?;
        Ok::<Vec<String>, JudgeError>(texts.into_iter().map(str::to_owned).collect())
    };
    let types = "tokenizer.ggml.token_type";
    let types = file.integers(types).ok_or_else(|| missing(types))?;
    let special = types.iter().zip(0..);
    let tables = BpeTables {
        tokens: texts("tokenizer.ggml.tokens")?,
        merges: texts("tokenizer.ggml.merges")?,
        special: special
            .filter_map(|(kind, id)| SPECIAL_TYPES.contains(kind).then_some(id))
            .collect(),
        words,
    };
    let mut declared = choice.declarations();
    declared.extend(SPECIAL_KEYS.into_iter().filter_map(|(role, key)| {
        Some(DeclaredToken {
            role,
            name: TokenName::Id(file.size(key)?.try_into().ok()?),
            source: TokenSource::GgufHeader,
        })
    }));
    Ok(Tokenizer::from_bpe_tables_with(
        &path.display().to_string(),
        &tables,
        &declared,
    )?)
}
