use tokenizers::Tokenizer;

use super::post_processor_ends::post_processor_ends;
use super::special_token_choice::TokenName;
use super::special_token_names::{BOUNDARIES, MASKS, PADS};
use super::special_tokens::{DeclaredToken, SpecialToken, SpecialTokens, TokenRole, TokenSource};
use crate::DataError;

/// Looks for the special tokens of a tokenizer: in what is declared, in the order given, in its post-processor, and among
/// the usual names.
pub(crate) struct SpecialTokenSearch<'a> {
    tokenizer: &'a Tokenizer,
    /// For messages.
    name: &'a str,
    declared: &'a [DeclaredToken],
    /// No token is marked as special, as in a file without `added_tokens`.
    is_bare: bool,
    unknown: Option<u32>,
}

impl<'a> SpecialTokenSearch<'a> {
    pub(crate) fn new(
        tokenizer: &'a Tokenizer,
        name: &'a str,
        declared: &'a [DeclaredToken],
        unknown: Option<u32>,
    ) -> Self {
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        Self {
            tokenizer,
            name,
            declared,
            is_bare: !added.values().any(|token| token.special),
            unknown,
        }
    }

    /// The tokens. Where a text only ends with one, it begins with the same.
    ///
    /// # Errors
    /// When a setting names a token that does not exist, or nothing says what ends a text.
    pub(crate) fn find(&self) -> Result<SpecialTokens, DataError> {
        let around = self.around_a_text();
        let told = |role| {
            let declared = self.declared(role)?;
            let around = around.iter().find(|(of, _)| *of == role);
            Ok::<_, DataError>(declared.or_else(|| around.map(|(_, token)| token.clone())))
        };
        let (bos, eos) = (told(TokenRole::Bos)?, told(TokenRole::Eos)?);
        let (bos, eos) = self.boundaries(bos, eos);
        let Some(eos) = eos else {
            return Err(self.missing(TokenRole::Eos));
        };
        let bos = bos.unwrap_or_else(|| SpecialToken {
            source: TokenSource::Eos,
            ..eos.clone()
        });
        let by_name = |names: &[&str]| names.iter().find_map(|name| self.named(name));
        let mask = told(TokenRole::Mask)?.or_else(|| by_name(&MASKS));
        let pad = told(TokenRole::Pad)?.or_else(|| by_name(&PADS));
        Ok(SpecialTokens {
            bos,
            eos,
            mask,
            pad,
        })
    }

    /// The first declaration that can be true.
    fn declared(&self, role: TokenRole) -> Result<Option<SpecialToken>, DataError> {
        for declared in self
            .declared
            .iter()
            .filter(|declared| declared.role == role)
        {
            let id = match &declared.name {
                TokenName::Id(id) => Some(*id),
                TokenName::Text(text) => self.tokenizer.token_to_id(text),
            };
            let found = id.and_then(|id| self.token(id, declared.source));
            match found {
                None if declared.source == TokenSource::Setting => {
                    return Err(DataError::UnknownSpecialToken {
                        name: self.name.to_owned(),
                        role,
                        got: declared.name.clone(),
                    });
                }
                Some(token) if self.is_credible(declared, &token) => return Ok(Some(token)),
                _ => tracing::warn!(
                    tokenizer = self.name,
                    "{} says that {role} is {}, which is no special token for that; passed over",
                    declared.source,
                    declared.name
                ),
            }
        }
        Ok(None)
    }

    /// Whether a declaration is more than the default of a configuration's class: Llama's has 1 and 2 for BOS and EOS,
    /// whatever the tokenizer.
    fn is_credible(&self, declared: &DeclaredToken, token: &SpecialToken) -> bool {
        let is_named = matches!(declared.name, TokenName::Text(_));
        if is_named || declared.source == TokenSource::Setting {
            return true;
        }
        let is_special = if self.is_bare {
            is_in_brackets(&token.token)
        } else {
            self.is_marked(&token.token)
        };
        let is_boundary = matches!(declared.role, TokenRole::Bos | TokenRole::Eos);
        let is_unknown = is_boundary && self.unknown == Some(token.id);
        is_special && !is_unknown && !self.is_of_other_role(declared, &token.token)
    }

    /// Whether the token has the usual name of the other end of a text, which another one is said to be.
    fn is_of_other_role(&self, declared: &DeclaredToken, token: &str) -> bool {
        let begins = BOUNDARIES.iter().any(|(bos, _)| *bos == token);
        let ends = BOUNDARIES.iter().any(|(_, eos)| *eos == token);
        let (is_other, other) = match declared.role {
            TokenRole::Bos => (ends && !begins, TokenRole::Eos),
            TokenRole::Eos => (begins && !ends, TokenRole::Bos),
            TokenRole::Mask | TokenRole::Pad => return false,
        };
        let is_both = self.declared.iter().any(|also| {
            also.source == declared.source && also.role == other && also.name == declared.name
        });
        is_other && !is_both
    }

    /// Fills in what is not known of beginning and end, by the usual names. One that is known says which pair it is.
    fn boundaries(
        &self,
        bos: Option<SpecialToken>,
        eos: Option<SpecialToken>,
    ) -> (Option<SpecialToken>, Option<SpecialToken>) {
        let is = |known: &Option<SpecialToken>, name: &str| {
            known.as_ref().is_some_and(|known| known.token == name)
        };
        let all = || BOUNDARIES.iter();
        match (&bos, &eos) {
            (Some(_), Some(_)) => (bos, eos),
            (Some(_), None) => {
                let mut pairs = all().filter(|pair| is(&bos, pair.0)).chain(all());
                let eos = pairs.find_map(|pair| self.named(pair.1));
                (bos, eos)
            }
            (None, Some(_)) => {
                let mut pairs = all().filter(|pair| is(&eos, pair.1)).chain(all());
                let bos = pairs.find_map(|pair| self.named(pair.0));
                (bos, eos)
            }
            (None, None) => {
                let pair = all().find_map(|(bos, eos)| Some((self.named(bos)?, self.named(eos)?)));
                match pair {
                    Some((bos, eos)) => (Some(bos), Some(eos)),
                    None => (None, all().find_map(|(_, eos)| self.named(eos))),
                }
            }
        }
    }

    /// What the post-processor puts around a text: the first token of each side.
    fn around_a_text(&self) -> Vec<(TokenRole, SpecialToken)> {
        let (bos, eos) = post_processor_ends(self.tokenizer);
        let token = |id: u32| self.token(id, TokenSource::PostProcessor);
        let of = |role, id: Option<u32>| Some((role, id.and_then(token)?));
        let found = [of(TokenRole::Bos, bos), of(TokenRole::Eos, eos)];
        found.into_iter().flatten().collect()
    }

    /// A special token of a usual name. Without any marks, BERT's brackets are clear enough; `<s>` is HTML.
    fn named(&self, name: &str) -> Option<SpecialToken> {
        let is_bert = || {
            let has = |name| self.tokenizer.token_to_id(name).is_some();
            self.is_bare && name.starts_with('[') && has("[CLS]") && has("[SEP]")
        };
        if !self.is_marked(name) && !is_bert() {
            return None;
        }
        self.token(self.tokenizer.token_to_id(name)?, TokenSource::Name)
    }

    fn is_marked(&self, token: &str) -> bool {
        let added = self.tokenizer.get_added_vocabulary();
        added.is_special_token(token)
    }

    fn token(&self, id: u32, source: TokenSource) -> Option<SpecialToken> {
        let token = spelled(self.tokenizer, id)?;
        Some(SpecialToken { id, token, source })
    }

    fn missing(&self, role: TokenRole) -> DataError {
        let added = self.tokenizer.get_added_vocabulary();
        let added = added.get_added_tokens_decoder();
        let mut special: Vec<_> = added.iter().filter(|(_, token)| token.special).collect();
        special.sort_by_key(|(id, _)| **id);
        let special: Vec<String> = special
            .iter()
            .take(8)
            .map(|(_, token)| format!("`{}`", token.content))
            .collect();
        DataError::MissingSpecialTokens {
            name: self.name.to_owned(),
            role,
            special: if special.is_empty() {
                "no token is marked as special".to_owned()
            } else {
                format!("its special tokens begin with {}", special.join(", "))
            },
        }
    }
}

/// The token of an id as it is spelled.
pub(crate) fn spelled(tokenizer: &Tokenizer, id: u32) -> Option<String> {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    match added.get(&id) {
        Some(token) => Some(token.content.clone()),
        None => tokenizer.id_to_token(id),
    }
}

fn is_in_brackets(token: &str) -> bool {
    [('<', '>'), ('[', ']'), ('{', '}')]
        .into_iter()
        .any(|(open, close)| token.len() > 2 && token.starts_with(open) && token.ends_with(close))
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenSource::{Config, GgufHeader, Name, PostProcessor, Setting, TokenizerConfig};
    use serde_json::Value;
    use tokenizers::AddedToken;
    use tokenizers::models::bpe::BPE;
    use tokenizers::processors::PostProcessorWrapper;

    /// Ids are the places in the list.
    fn with_added(names: &[(&str, bool)]) -> Tokenizer {
        let mut tokenizer = Tokenizer::new(BPE::default());
        for (name, is_special) in names {
            tokenizer
                .add_tokens([AddedToken::from(*name, *is_special)])
                .unwrap();
        }
        tokenizer
    }

    fn special(names: &[&str]) -> Tokenizer {
        let names: Vec<_> = names.iter().map(|name| (*name, true)).collect();
        with_added(&names)
    }

    fn id(role: TokenRole, id: u32, source: TokenSource) -> DeclaredToken {
        let name = TokenName::Id(id);
        DeclaredToken { role, name, source }
    }

    fn text(role: TokenRole, text: &str, source: TokenSource) -> DeclaredToken {
        let name = TokenName::Text(text.to_owned());
        DeclaredToken { role, name, source }
    }

    fn find(tokenizer: &Tokenizer, declared: &[DeclaredToken]) -> SpecialTokens {
        SpecialTokenSearch::new(tokenizer, "t", declared, None)
            .find()
            .unwrap()
    }

    /// Id and source of BOS and EOS.
    type Ends = ((u32, TokenSource), (u32, TokenSource));

    fn ends(tokenizer: &Tokenizer, declared: &[DeclaredToken]) -> Ends {
        let SpecialTokens { bos, eos, .. } = find(tokenizer, declared);
        ((bos.id, bos.source), (eos.id, eos.source))
    }

    fn refused(tokenizer: &Tokenizer, declared: &[DeclaredToken]) -> String {
        let search = SpecialTokenSearch::new(tokenizer, "t", declared, None);
        search.find().unwrap_err().to_string()
    }

    #[test]
    fn the_usual_names_of_special_tokens_are_known() {
        for (names, bos, eos) in [
            (&["<unk>", "<s>", "</s>"][..], 1, 2),
            (&["<|endoftext|>"], 0, 0),
            // Gemma.
            (&["<pad>", "<eos>", "<bos>", "<unk>"], 2, 1),
            // Llama 3.
            (
                &["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"],
                0,
                1,
            ),
            (&["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"], 0, 1),
            // Yi, which has `<|im_start|>` too.
            (&["<|startoftext|>", "<|endoftext|>", "<|im_start|>"], 0, 1),
        ] {
            let wanted = ((bos, Name), (eos, Name));
            assert_eq!(ends(&special(names), &[]), wanted, "{names:?}");
        }
        // Qwen has no BOS, and neither has T5, whose EOS is in no other pair.
        let qwen = special(&["<|endoftext|>", "<|im_start|>", "<|im_end|>"]);
        assert_eq!(ends(&qwen, &[]), ((0, Name), (0, Name)));
        let t5 = special(&["<pad>", "</s>", "<unk>"]);
        assert_eq!(ends(&t5, &[]), ((1, TokenSource::Eos), (1, Name)));
        assert_eq!(find(&t5, &[]).pad.map(|pad| pad.id), Some(0));
    }

    #[test]
    fn bert_names_win_over_endoftext() {
        let names = ["<|endoftext|>", "[CLS]", "[SEP]", "[MASK]", "[PAD]"];
        let found = find(&special(&names), &[]);
        assert_eq!((found.bos.id, found.eos.id), (1, 2));
        assert_eq!(found.ids(), [Some(1), Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn ordinary_tokens_are_text_whatever_their_names() {
        let tokenizer = with_added(&[("<s>", false), ("</s>", false), ("<|endoftext|>", true)]);
        assert_eq!(ends(&tokenizer, &[]), ((2, Name), (2, Name)));
        // Gemma's tags are of HTML, and its `<mask>` is none of its special tokens.
        let gemma = [
            ("<eos>", true),
            ("<bos>", true),
            ("<mask>", false),
            ("<s>", false),
            ("</s>", false),
        ];
        let gemma = find(&with_added(&gemma), &[]);
        assert_eq!(gemma.ids(), [Some(1), Some(0), None, None]);
        let html = refused(&with_added(&[("<s>", false), ("</s>", false)]), &[]);
        assert!(html.contains("no token is marked as special"), "{html}");
        let other = refused(&special(&["a", "b"]), &[]);
        assert!(other.contains("`a`, `b`"), "{other}");
        assert!(other.contains("special_tokens"), "{other}");
        // The text may hold a word `[MASK]` without its being the mask.
        let one_marked = with_added(&[("<s>", true), ("</s>", true), ("[MASK]", false)]);
        assert_eq!(find(&one_marked, &[]).mask, None);
    }

    #[test]
    fn a_vocabulary_without_marks_has_berts_brackets_and_what_is_declared() {
        let names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        let bert = with_added(&names.map(|name| (name, false)));
        assert_eq!(find(&bert, &[]).ids(), [Some(2), Some(3), Some(4), Some(0)]);
        let html = with_added(&[("<s>", false), ("</s>", false), ("a", false)]);
        let told = [text(TokenRole::Eos, "</s>", TokenizerConfig)];
        let wanted = ((1, TokenSource::Eos), (1, TokenizerConfig));
        assert_eq!(ends(&html, &told), wanted);
        // Numbers are believed where the tokens do not look like text.
        let told = [id(TokenRole::Bos, 0, Config), id(TokenRole::Eos, 1, Config)];
        assert_eq!(ends(&html, &told), ((0, Config), (1, Config)));
        let told = [id(TokenRole::Bos, 0, Config), id(TokenRole::Eos, 2, Config)];
        assert!(refused(&html, &told).contains("EOS"));
    }

    #[test]
    fn what_is_declared_first_wins() {
        let tokenizer = special(&["<s>", "</s>", "<a>", "<b>", "<c>"]);
        let mut declared = vec![
            text(TokenRole::Bos, "<a>", Setting),
            text(TokenRole::Bos, "<b>", TokenizerConfig),
            text(TokenRole::Eos, "absent", TokenizerConfig),
            id(TokenRole::Eos, 99, TokenSource::GenerationConfig),
            id(TokenRole::Eos, 4, GgufHeader),
        ];
        assert_eq!(ends(&tokenizer, &declared), ((2, Setting), (4, GgufHeader)));
        // A setting has to name a token; a file that does not is passed over.
        declared[0].name = TokenName::Text("absent".to_owned());
        let error = refused(&tokenizer, &declared);
        assert!(error.contains("has no token `absent`"), "{error}");
        declared.remove(0);
        assert_eq!(ends(&tokenizer, &declared).0, (3, TokenizerConfig));
    }

    #[test]
    fn defaults_of_a_configuration_are_told_from_what_somebody_wrote() {
        let defaults = [id(TokenRole::Bos, 1, Config), id(TokenRole::Eos, 2, Config)];
        // Llama's 1 and 2 are true here,
        let llama = special(&["<unk>", "<s>", "</s>"]);
        assert_eq!(ends(&llama, &defaults), ((1, Config), (2, Config)));
        // ordinary tokens here,
        let mut llama3 = with_added(&[("!", false), ("\"", false), ("#", false)]);
        let names = ["<|begin_of_text|>", "<|end_of_text|>"];
        let added = names.map(|name| AddedToken::from(name, true));
        llama3.add_tokens(added).unwrap();
        assert_eq!(ends(&llama3, &defaults), ((3, Name), (4, Name)));
        // the wrong way round here,
        let gemma = special(&["<pad>", "<eos>", "<bos>"]);
        assert_eq!(ends(&gemma, &defaults), ((2, Name), (1, Name)));
        // and the end and the unknown token here.
        let t5 = special(&["<pad>", "</s>", "<unk>"]);
        let search = SpecialTokenSearch::new(&t5, "t5", &defaults, Some(2));
        let found = search.find().unwrap();
        assert_eq!((found.bos.id, found.eos.id), (1, 1));
        // OPT begins with `</s>` and says so.
        let opt = special(&["<s>", "<pad>", "</s>"]);
        let both = [id(TokenRole::Bos, 2, Config), id(TokenRole::Eos, 2, Config)];
        assert_eq!(ends(&opt, &both), ((2, Config), (2, Config)));
    }

    fn with_processor(names: &[&str], processor: Value) -> Tokenizer {
        let mut tokenizer = special(names);
        let processor: PostProcessorWrapper = serde_json::from_value(processor).unwrap();
        tokenizer.with_post_processor(Some(processor));
        tokenizer
    }

    fn template(single: &[&str], ids: &[(&str, u32)]) -> Value {
        let piece = |name: &&str| match *name {
            "A" => serde_json::json!({"Sequence": {"id": "A", "type_id": 0}}),
            name => serde_json::json!({"SpecialToken": {"id": name, "type_id": 0}}),
        };
        let special = ids.iter().map(|&(name, id)| {
            let token = serde_json::json!({"id": name, "ids": [id], "tokens": [name]});
            (name.to_owned(), token)
        });
        serde_json::json!({
            "type": "TemplateProcessing",
            "single": single.iter().map(piece).collect::<Vec<_>>(),
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": special.collect::<serde_json::Map<_, _>>(),
        })
    }

    #[test]
    fn post_processors_say_what_is_around_a_text() {
        let names = ["<s>", "</s>", "<x>", "<y>"];
        let around = ((2, PostProcessor), (3, PostProcessor));
        for kind in ["BertProcessing", "RobertaProcessing"] {
            let processor = serde_json::json!({"type": kind, "sep": ["<y>", 3], "cls": ["<x>", 2],
                "trim_offsets": true, "add_prefix_space": false});
            assert_eq!(ends(&with_processor(&names, processor), &[]), around);
        }
        let both = template(&["<x>", "A", "<y>"], &[("<x>", 2), ("<y>", 3)]);
        assert_eq!(ends(&with_processor(&names, both.clone()), &[]), around);
        let byte_level = serde_json::json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false,
            "use_regex": true});
        let sequence = serde_json::json!({"type": "Sequence", "processors": [byte_level, both]});
        assert_eq!(ends(&with_processor(&names, sequence), &[]), around);
        // A file goes before it.
        let told = [text(TokenRole::Bos, "<s>", TokenizerConfig)];
        let both = template(&["<x>", "A", "<y>"], &[("<x>", 2), ("<y>", 3)]);
        let got = ends(&with_processor(&names, both), &told);
        assert_eq!(got, ((0, TokenizerConfig), (3, PostProcessor)));
    }

    #[test]
    fn one_end_of_a_text_tells_the_other() {
        // Llama 3's template has BOS alone, and the name of EOS goes with it, whatever else there is.
        let names = [
            "</s>",
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|endoftext|>",
        ];
        let begin = template(&["<|begin_of_text|>", "A"], &[("<|begin_of_text|>", 1)]);
        let got = ends(&with_processor(&names, begin), &[]);
        assert_eq!(got, ((1, PostProcessor), (2, Name)));
        // Phi's `</s>` is not special.
        let mut phi = with_processor(
            &["<s>", "<|endoftext|>"],
            template(&["<s>", "A"], &[("<s>", 0)]),
        );
        phi.add_tokens([AddedToken::from("</s>", false)]).unwrap();
        assert_eq!(ends(&phi, &[]), ((0, PostProcessor), (1, Name)));
        // T5 ends every text with EOS and has nothing in front.
        let t5 = with_processor(&["<pad>", "</s>"], template(&["A", "</s>"], &[("</s>", 1)]));
        let wanted = ((1, TokenSource::Eos), (1, PostProcessor));
        assert_eq!(ends(&t5, &[]), wanted);
        // Qwen's chat models end with a token that is in no pair.
        let qwen = special(&["<|endoftext|>", "<|im_start|>", "<|im_end|>"]);
        let told = [text(TokenRole::Eos, "<|im_end|>", TokenizerConfig)];
        assert_eq!(ends(&qwen, &told), ((0, Name), (2, TokenizerConfig)));
    }
}
