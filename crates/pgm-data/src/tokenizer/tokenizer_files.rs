use std::path::Path;

use tokenizers::models::ModelWrapper;

use super::special_token_search::spelled;
use super::tokenizer::serialise;
use super::tokenizer_companions::declared_beside;
use crate::files::AtomicFile;
use crate::{DataError, SpecialTokenChoice, SpecialTokens, Tokenizer, read_json_text};

impl Tokenizer {
    /// Reads a `tokenizer.json`; its padding and truncation settings are dropped, and so is what makes ids random.
    ///
    /// The name is the path's text. Which tokens begin and end a text is asked of `tokenizer_config.json`,
    /// `special_tokens_map.json`, `config.json` and `generation_config.json` beside a file named `tokenizer.json`, of
    /// its post-processor, and of the usual names of tokens marked as special; see [`Self::special_tokens`].
    ///
    /// # Errors
    /// When the file is missing, unreadable or no tokenizer, or nothing says which token ends a text.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::from_file_choosing(path, &SpecialTokenChoice::default())
    }

    /// The same, with special tokens that are chosen before anything is asked.
    ///
    /// # Errors
    /// As [`Self::from_file`], and when it has no such token.
    pub fn from_file_choosing(
        path: impl AsRef<Path>,
        choice: &SpecialTokenChoice,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        let mut declared = choice.declarations();
        declared.extend(declared_beside(path)?);
        let name = path.display().to_string();
        Self::new(read(path, &name)?, name, &declared)
    }

    /// The same, with the special tokens that were found when it was read before: the files beside it are not asked.
    ///
    /// # Errors
    /// As [`Self::from_file`], and when its vocabulary spells one of the tokens otherwise.
    pub fn from_file_with_tokens(
        path: impl AsRef<Path>,
        tokens: &SpecialTokens,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let inner = read(path, &name)?;
        for (role, token) in tokens.iter() {
            let found = spelled(&inner, token.id);
            if found.as_ref() != Some(&token.token) {
                return Err(DataError::OtherSpecialToken {
                    name,
                    role,
                    id: token.id,
                    wanted: token.token.clone(),
                    found,
                });
            }
        }
        Self::with_tokens(inner, name, tokens.clone())
    }

    /// The same tokenizer with other special tokens; those that are not chosen are looked for in the tokenizer alone.
    ///
    /// # Errors
    /// When it has no such token.
    pub fn choosing(self, choice: &SpecialTokenChoice) -> Result<Self, DataError> {
        if choice.is_empty() {
            return Ok(self);
        }
        let name = self.name().to_owned();
        Self::new(self.into_inner(), name, &choice.declarations())
    }

    /// Writes a `tokenizer.json` that [`from_file`](Self::from_file) reads back. Special tokens that the file alone does
    /// not tell have to be kept beside it ([`Self::special_tokens`]) and given to
    /// [`from_file_with_tokens`](Self::from_file_with_tokens).
    ///
    /// # Errors
    /// When the file cannot be written; nothing half-written is left.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), DataError> {
        let text = serialise(self.inner(), self.name())?;
        AtomicFile::write(path.as_ref(), text.as_bytes())
    }
}

fn read(path: &Path, name: &str) -> Result<tokenizers::Tokenizer, DataError> {
    let text = read_json_text(path)?;
    let failed = |source| DataError::Tokenizer {
        name: name.to_owned(),
        action: "be read",
        reason: source,
    };
    let mut inner = tokenizers::Tokenizer::from_bytes(text).map_err(failed)?;
    inner.with_padding(None);
    inner.with_truncation(None).map_err(failed)?;
    take_chance_away(&mut inner, name);
    Ok(inner)
}

/// Switches off what makes the tokens of a text random (BPE's dropout, a Unigram's sampling): it is for training a
/// model on several tokenisations of a text, and equal texts have equal ids here.
fn take_chance_away(tokenizer: &mut tokenizers::Tokenizer, name: &str) {
    let setting = match tokenizer.get_model() {
        ModelWrapper::BPE(model) if model.dropout.is_some_and(|dropout| dropout > 0.0) => {
            let mut model = model.clone();
            let dropout = model.dropout.take();
            tokenizer.with_model(model);
            ("model.dropout", dropout.map(|dropout| dropout.to_string()))
        }
        ModelWrapper::Unigram(model) if model.alpha.is_some_and(|alpha| alpha > 0.0) => {
            let mut model = model.clone();
            let alpha = model.alpha.take();
            tokenizer.with_model(model);
            ("model.alpha", alpha.map(|alpha| alpha.to_string()))
        }
        _ => return,
    };
    tracing::warn!(
        tokenizer = name,
        value = setting.1,
        "`{}` of the tokenizer would make its tokens random; switched off",
        setting.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenName, TokenRole, TokenSource};
    use std::fs;
    use std::path::PathBuf;

    /// A tokenizer of four letters with two pairs of special tokens, of which names know one.
    fn folder(more: &[(&str, serde_json::Value)]) -> (tempfile::TempDir, PathBuf) {
        let added = |id: u32, content: &str| {
            serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        };
        let mut json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
            "post_processor": null, "decoder": null,
            "added_tokens": [added(0, "<bos>"), added(1, "<eos>"), added(2, "<go>"), added(3, "<stop>")],
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": {"<bos>": 0, "<eos>": 1, "<go>": 2, "<stop>": 3, "a": 4, "b": 5, "ab": 6, "abab": 7},
                "merges": ["a b", "ab ab"]}
        });
        for (pointer, value) in more {
            *json.pointer_mut(pointer).unwrap() = value.clone();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        fs::write(&path, json.to_string()).unwrap();
        (folder, path)
    }

    fn ends(tokenizer: &Tokenizer) -> (u32, u32) {
        (tokenizer.bos_id(), tokenizer.eos_id())
    }

    #[test]
    fn a_choice_goes_before_files_and_files_before_names() {
        let (folder, path) = folder(&[]);
        let by_name = Tokenizer::from_file(&path).unwrap();
        assert_eq!(ends(&by_name), (0, 1));
        let config = r#"{"bos_token": "<go>", "eos_token": {"content": "<stop>"}}"#;
        fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        let by_file = Tokenizer::from_file(&path).unwrap();
        assert_eq!(ends(&by_file), (2, 3));
        assert_eq!(
            by_file.special_tokens().bos.source,
            TokenSource::TokenizerConfig
        );
        let choice = "eos=1".parse().unwrap();
        let chosen = Tokenizer::from_file_choosing(&path, &choice).unwrap();
        assert_eq!(ends(&chosen), (2, 1));
        assert_eq!(chosen.special_tokens().eos.source, TokenSource::Setting);
        assert_eq!(ends(&by_name.clone().choosing(&choice).unwrap()), (0, 1));
        let absent = "eos=<end>".parse().unwrap();
        let error = by_name.clone().choosing(&absent).unwrap_err().to_string();
        assert!(error.contains("has no token `<end>`"), "{error}");
        // Special tokens are part of the fingerprint, unless the file alone tells them.
        let prints = [&by_name, &by_file, &chosen].map(Tokenizer::fingerprint);
        assert_ne!(prints[0], prints[1]);
        assert_ne!(prints[1], prints[2]);
        let same = by_name.clone().choosing(&choice).unwrap();
        assert_eq!(same.fingerprint(), by_name.fingerprint());
    }

    #[test]
    fn tokens_that_were_found_are_kept() {
        let (folder, path) = folder(&[]);
        let choice = "bos=<go>,eos=<stop>,mask=5".parse().unwrap();
        let chosen = Tokenizer::from_file_choosing(&path, &choice).unwrap();
        let copy = folder.path().join("copy.json");
        chosen.save(&copy).unwrap();
        let again = Tokenizer::from_file_with_tokens(&copy, chosen.special_tokens()).unwrap();
        assert_eq!(again.special_tokens(), chosen.special_tokens());
        assert_eq!(again.fingerprint(), chosen.fingerprint());
        assert_eq!((again.mask_id(), again.pad_id()), (Some(5), None));
        let mut tokens = chosen.special_tokens().clone();
        tokens.eos.id = 7;
        let error = Tokenizer::from_file_with_tokens(&copy, &tokens).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("EOS") && error.contains("`<stop>`"),
            "{error}"
        );
        assert!(error.contains("`abab`"), "{error}");
    }

    #[test]
    fn tokens_are_not_left_to_chance() {
        let (_folder, path) = folder(&[("/model/dropout", 0.7.into())]);
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        for _ in 0..20 {
            assert_eq!(tokenizer.encode("abababab").unwrap(), [7, 7]);
        }
        // The copy in a run is the one without.
        let (_other, plain) = self::folder(&[]);
        let plain = Tokenizer::from_file(plain).unwrap();
        assert_eq!(tokenizer.fingerprint(), plain.fingerprint());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_file() {
        let (_folder, path) = folder(&[]);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [b"\xef\xbb\xbf", &bytes[..]].concat()).unwrap();
        assert_eq!(ends(&Tokenizer::from_file(&path).unwrap()), (0, 1));
    }

    #[test]
    fn what_is_missing_is_said_with_a_way_out() {
        let (_folder, path) = folder(&[("/added_tokens", serde_json::json!([]))]);
        let error = Tokenizer::from_file(&path).unwrap_err();
        assert!(matches!(
            error,
            DataError::MissingSpecialTokens {
                role: TokenRole::Eos,
                ..
            }
        ));
        let choice = SpecialTokenChoice {
            eos: Some(TokenName::Text("<stop>".to_owned())),
            ..Default::default()
        };
        let chosen = Tokenizer::from_file_choosing(&path, &choice).unwrap();
        assert_eq!(ends(&chosen), (3, 3));
        assert_eq!(chosen.special_tokens().bos.source, TokenSource::Eos);
    }
}
