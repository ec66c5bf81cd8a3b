use std::path::Path;

use pgm_data::{BpeTables, Tokenizer, WordSplit};
use pgm_model::weights::GgufFile;

use super::JudgeError;

/// Token types of GGUF that stand for no text: control and unknown.
const SPECIAL_TYPES: [i128; 2] = [2, 3];

/// The tokenizer in the header of a file.
pub(super) fn read(file: &GgufFile, path: &Path) -> Result<Tokenizer, JudgeError> {
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
        other => {
            let other = other.unwrap_or("missing");
            return Err(failed(format!(
                "`{words}` is `{other}`, wanted `gpt-2` or `smollm`"
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
    Ok(Tokenizer::from_bpe_tables(
        &path.display().to_string(),
        &tables,
    )?)
}
