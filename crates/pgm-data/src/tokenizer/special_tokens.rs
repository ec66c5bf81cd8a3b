use std::fmt;

use serde::{Deserialize, Serialize};

use super::special_token_choice::{SpecialTokenChoice, TokenName};

/// The tokens that stand for no text, each with where its id is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialTokens {
    /// Begins a row.
    pub bos: SpecialToken,
    /// Ends a document and a row.
    pub eos: SpecialToken,
    /// Stands for a hidden token; most tokenizers have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<SpecialToken>,
    /// Fills rows up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<SpecialToken>,
}

/// A token that stands for no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// How the vocabulary spells it.
    pub token: String,
    /// What said so.
    pub source: TokenSource,
}

/// What a special token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRole {
    /// Begins a row.
    Bos,
    /// Ends a document and a row.
    Eos,
    /// Stands for a hidden token.
    Mask,
    /// Fills rows up.
    Pad,
}

/// What said that a token is the one of its role; the first of them that says something is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenSource {
    /// A [`SpecialTokenChoice`].
    Setting,
    /// `tokenizer_config.json` beside the tokenizer.
    TokenizerConfig,
    /// `special_tokens_map.json` beside the tokenizer.
    SpecialTokensMap,
    /// `config.json` beside the tokenizer.
    Config,
    /// `generation_config.json` beside the tokenizer.
    GenerationConfig,
    /// The header of a GGUF file.
    GgufHeader,
    /// What the tokenizer would put around a text.
    PostProcessor,
    /// One of the usual names, of a token that is marked as special.
    Name,
    /// The other of BOS and EOS: there is no token that begins a text alone.
    Eos,
}

/// What a file says of a special token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredToken {
    /// What the token is for.
    pub role: TokenRole,
    /// Which token.
    pub name: TokenName,
    /// Who says so.
    pub source: TokenSource,
}

impl SpecialTokens {
    /// The tokens with what they are for.
    pub fn iter(&self) -> impl Iterator<Item = (TokenRole, &SpecialToken)> {
        let always = [
            (TokenRole::Bos, Some(&self.bos)),
            (TokenRole::Eos, Some(&self.eos)),
            (TokenRole::Mask, self.mask.as_ref()),
            (TokenRole::Pad, self.pad.as_ref()),
        ];
        let there = |(role, token): (TokenRole, Option<_>)| token.map(|token| (role, token));
        always.into_iter().filter_map(there)
    }

    /// Those that a setting chose, as a setting.
    pub fn chosen(&self) -> SpecialTokenChoice {
        let mut choice = SpecialTokenChoice::default();
        for (role, token) in self.iter() {
            if token.source == TokenSource::Setting {
                *choice.get_mut(role) = Some(TokenName::Id(token.id));
            }
        }
        choice
    }

    /// The ids alone.
    pub(crate) fn ids(&self) -> [Option<u32>; 4] {
        [
            Some(self.bos.id),
            Some(self.eos.id),
            self.mask.as_ref().map(|token| token.id),
            self.pad.as_ref().map(|token| token.id),
        ]
    }
}

impl TokenRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bos, Self::Eos, Self::Mask, Self::Pad];

    /// As settings call it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Bos => "bos",
            Self::Eos => "eos",
            Self::Mask => "mask",
            Self::Pad => "pad",
        }
    }
}

/// The name in capitals: `BOS`.
impl fmt::Display for TokenRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bos => "BOS",
            Self::Eos => "EOS",
            Self::Mask => "MASK",
            Self::Pad => "PAD",
        })
    }
}

impl fmt::Display for TokenSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Setting => "the setting `special_tokens`",
            Self::TokenizerConfig => "`tokenizer_config.json`",
            Self::SpecialTokensMap => "`special_tokens_map.json`",
            Self::Config => "`config.json`",
            Self::GenerationConfig => "`generation_config.json`",
            Self::GgufHeader => "the GGUF header",
            Self::PostProcessor => "the tokenizer's post-processor",
            Self::Name => "its name",
            Self::Eos => "EOS: there is no BOS",
        })
    }
}

/// The id, the token and what said so: ``2 `<bos>`, from its name``.
impl fmt::Display for SpecialToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} `{}`, from {}",
            self.id, self.token, self.source
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_their_sources_survive_json() {
        let token = |id, token: &str, source| SpecialToken {
            id,
            token: token.to_owned(),
            source,
        };
        let tokens = SpecialTokens {
            bos: token(2, "<bos>", TokenSource::Setting),
            eos: token(1, "<eos>", TokenSource::TokenizerConfig),
            mask: None,
            pad: Some(token(0, "<pad>", TokenSource::Name)),
        };
        let json = serde_json::to_string(&tokens).unwrap();
        assert!(json.contains("\"source\":\"tokenizer-config\""), "{json}");
        assert!(!json.contains("mask"), "{json}");
        assert_eq!(
            serde_json::from_str::<SpecialTokens>(&json).unwrap(),
            tokens
        );
        let roles: Vec<String> = tokens.iter().map(|(role, _)| role.to_string()).collect();
        assert_eq!(roles, ["BOS", "EOS", "PAD"]);
        assert_eq!(
            tokens.eos.to_string(),
            "1 `<eos>`, from `tokenizer_config.json`"
        );
        // Only what was chosen has to be chosen again.
        assert_eq!(tokens.chosen(), "bos=2".parse().unwrap());
    }
}
