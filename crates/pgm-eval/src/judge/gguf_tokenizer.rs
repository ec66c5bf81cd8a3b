use std::path::Path;

use pgm_data::{
    BpeTables, DeclaredToken, SpecialTokenChoice, TokenName, TokenRole, TokenSource, Tokenizer,
    WordSplit,
};
use pgm_weights::GgufFile;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of a header.
    enum Entry<'a> {
        Number(u32),
        Text(&'a str),
        Texts(&'a [&'a str]),
        Numbers(&'a [u32]),
    }

    /// A GGUF file with a header alone.
    fn gguf(entries: &[(&str, Entry)]) -> Vec<u8> {
        fn text(bytes: &mut Vec<u8>, text: &str) {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        // Types of the format: 4 is u32, 8 a text, 9 a list.
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend((entries.len() as u64).to_le_bytes());
        for (key, entry) in entries {
            text(&mut bytes, key);
            match entry {
                Entry::Number(number) => {
                    bytes.extend([4_u32, *number].map(u32::to_le_bytes).concat());
                }
                Entry::Text(value) => {
                    bytes.extend(8_u32.to_le_bytes());
                    text(&mut bytes, value);
                }
                Entry::Texts(values) => {
                    bytes.extend([9_u32, 8].map(u32::to_le_bytes).concat());
                    bytes.extend((values.len() as u64).to_le_bytes());
                    values.iter().for_each(|value| text(&mut bytes, value));
                }
                Entry::Numbers(values) => {
                    bytes.extend([9_u32, 4].map(u32::to_le_bytes).concat());
                    bytes.extend((values.len() as u64).to_le_bytes());
                    let values = values.iter().flat_map(|value| value.to_le_bytes());
                    bytes.extend(values);
                }
            }
        }
        // Weights, of which there are none, begin at a multiple of 32.
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes
    }

    #[test]
    fn the_header_says_which_tokens_begin_and_end_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.gguf");
        let tokens = ["a", "b", "<go>", "<stop>", "<|endoftext|>"];
        let read = |more: Vec<(&str, Entry)>, words, choice: &str| {
            let mut entries = vec![
                ("general.architecture", Entry::Text("llama")),
                ("tokenizer.ggml.model", Entry::Text("gpt2")),
                ("tokenizer.ggml.pre", Entry::Text(words)),
                ("tokenizer.ggml.tokens", Entry::Texts(&tokens)),
                ("tokenizer.ggml.merges", Entry::Texts(&[])),
                (
                    "tokenizer.ggml.token_type",
                    Entry::Numbers(&[1, 1, 3, 3, 3]),
                ),
            ];
            entries.extend(more);
            std::fs::write(&path, gguf(&entries)).unwrap();
            let choice = match choice {
                "" => SpecialTokenChoice::default(),
                choice => choice.parse().unwrap(),
            };
            let file = GgufFile::open(&path).unwrap();
            let tokenizer = super::read(&file, &path, &choice).unwrap();
            let tokens = tokenizer.special_tokens();
            let of = |token: &pgm_data::SpecialToken| (token.id, token.source);
            (of(&tokens.bos), of(&tokens.eos))
        };
        let header = || {
            vec![
                ("tokenizer.ggml.bos_token_id", Entry::Number(2)),
                ("tokenizer.ggml.eos_token_id", Entry::Number(3)),
            ]
        };
        let (by_header, by_name) = (TokenSource::GgufHeader, TokenSource::Name);
        for words in ["gpt-2", "smollm", "llama-bpe"] {
            assert_eq!(read(vec![], words, ""), ((4, by_name), (4, by_name)));
            assert_eq!(read(header(), words, ""), ((2, by_header), (3, by_header)));
        }
        assert_eq!(
            read(header(), "gpt-2", "eos=<|endoftext|>"),
            ((2, by_header), (4, TokenSource::Setting))
        );
        // 0 is a letter.
        let wrong = vec![("tokenizer.ggml.bos_token_id", Entry::Number(0))];
        assert_eq!(read(wrong, "gpt-2", "").0, (4, by_name));
    }
}
