use std::path::Path;

use serde_json::Value;

use super::special_token_choice::TokenName;
use super::special_tokens::{DeclaredToken, TokenRole, TokenSource};
use crate::{DataError, read_json_text};

/// The name of a tokenizer that such files belong to.
const TOKENIZER_FILE: &str = "tokenizer.json";

/// The files of a model that name its special tokens, the most reliable first.
const COMPANIONS: [(&str, TokenSource); 4] = [
    ("tokenizer_config.json", TokenSource::TokenizerConfig),
    ("special_tokens_map.json", TokenSource::SpecialTokensMap),
    ("config.json", TokenSource::Config),
    ("generation_config.json", TokenSource::GenerationConfig),
];

/// The keys of a role; BERT's kind begins and ends texts with CLS and SEP.
const KEYS: [(TokenRole, &str); 6] = [
    (TokenRole::Bos, "bos_token"),
    (TokenRole::Bos, "cls_token"),
    (TokenRole::Eos, "eos_token"),
    (TokenRole::Eos, "sep_token"),
    (TokenRole::Mask, "mask_token"),
    (TokenRole::Pad, "pad_token"),
];

/// What the files beside a `tokenizer.json` say of its special tokens. Beside a file of another name, they may be those
/// of something else.
///
/// # Errors
/// When one of them cannot be read, or is not JSON.
pub(crate) fn declared_beside(tokenizer: &Path) -> Result<Vec<DeclaredToken>, DataError> {
    let mut declared = Vec::new();
    if tokenizer
        .file_name()
        .is_none_or(|name| name != TOKENIZER_FILE)
    {
        return Ok(declared);
    }
    for (name, source) in COMPANIONS {
        let path = tokenizer.with_file_name(name);
        if !path.is_file() {
            continue;
        }
        let text = read_json_text(&path)?;
        let content: Value =
            serde_json::from_str(&text).map_err(|reason| DataError::TokenizerCompanion {
                path: path.clone(),
                reason,
            })?;
        declared.extend(declared_in(&content, source));
        // Models of text and images have the sizes and tokens of the text in a part of their own.
        if let Some(text) = content.get("text_config") {
            declared.extend(declared_in(text, source));
        }
    }
    Ok(declared)
}

fn declared_in(content: &Value, source: TokenSource) -> Vec<DeclaredToken> {
    let mut declared = Vec::new();
    for (role, key) in KEYS {
        let values = [content.get(key), content.get(format!("{key}_id"))];
        let names = values.into_iter().flatten().flat_map(names);
        declared.extend(names.map(|name| DeclaredToken { role, name, source }));
    }
    declared
}

/// A text, an object with one, an id, or several ids.
fn names(value: &Value) -> Vec<TokenName> {
    let id = |value: &Value| u32::try_from(value.as_u64()?).ok().map(TokenName::Id);
    match value {
        Value::String(text) => vec![TokenName::Text(text.clone())],
        Value::Object(token) => match token.get("content") {
            Some(Value::String(text)) => vec![TokenName::Text(text.clone())],
            _ => Vec::new(),
        },
        Value::Array(values) => values.iter().filter_map(id).collect(),
        value => id(value).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn text(text: &str) -> TokenName {
        TokenName::Text(text.to_owned())
    }

    #[test]
    fn files_are_asked_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, content: &str| fs::write(path(name), content).unwrap();
        assert_eq!(declared_beside(&path("tokenizer.json")).unwrap(), []);
        write("generation_config.json", r#"{"eos_token_id": [7, 8]}"#);
        write(
            "config.json",
            r#"{"bos_token_id": null, "eos_token_id": -1, "pad_token_id": 3, "text_config": {"bos_token_id": 2}}"#,
        );
        // As Windows writes it.
        write(
            "tokenizer_config.json",
            "\u{feff}{\"bos_token\": {\"content\": \"<b>\", \"lstrip\": false}, \"eos_token\": null, \"sep_token\": \"<e>\"}",
        );
        let declared = declared_beside(&path("tokenizer.json")).unwrap();
        let got: Vec<_> = declared
            .into_iter()
            .map(|declared| (declared.role, declared.name, declared.source))
            .collect();
        use TokenRole::{Bos, Eos, Pad};
        use TokenSource::{Config, GenerationConfig, TokenizerConfig};
        let wanted = [
            (Bos, text("<b>"), TokenizerConfig),
            (Eos, text("<e>"), TokenizerConfig),
            (Pad, TokenName::Id(3), Config),
            (Bos, TokenName::Id(2), Config),
            (Eos, TokenName::Id(7), GenerationConfig),
            (Eos, TokenName::Id(8), GenerationConfig),
        ];
        assert_eq!(got, wanted);
        // A tokenizer of another name is not that of this folder.
        assert_eq!(declared_beside(&path("other.json")).unwrap(), []);
        write("config.json", "{");
        let error = declared_beside(&path("tokenizer.json")).unwrap_err();
        assert!(
            error.to_string().contains("config.json` is not JSON"),
            "{error}"
        );
    }
}
