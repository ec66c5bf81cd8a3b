use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Undoes what benchmark texts had done to them before models read them: spaces before punctuation, `@-@`, `N` for
/// numbers.
///
/// # Reference
/// The rules for zero-shot perplexities of MDLM (arXiv 2406.07524) and SEDD (arXiv 2310.16834), oddities included, as
/// published figures have them. The authors' code has none for AG News and OpenWebText.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detokenizer {
    /// WikiText-2 and WikiText-103.
    Wikitext,
    /// Penn Treebank.
    Ptb,
    /// One Billion Words.
    Lm1b,
    /// LAMBADA.
    Lambada,
    /// ArXiv and PubMed: as WikiText, then as LM1B.
    ScientificPapers,
}

/// A step of a detokenizer.
enum Rule {
    /// A text, and what takes its place.
    Text(&'static str, &'static str),
    /// A pattern, and what takes its place.
    Pattern(&'static str, &'static str),
}

use Rule::{Pattern, Text};

/// In this order.
const WIKITEXT: &[Rule] = &[
    Text("s '", "s'"),
    Text(" @-@ ", "-"),
    Text(" @,@ ", ","),
    Text(" @.@ ", "."),
    Text(" : ", ": "),
    Text(" ; ", "; "),
    Text(" . ", ". "),
    Text(" ! ", "! "),
    Text(" ? ", "? "),
    Text(" , ", ", "),
    Pattern(r"\(\s*([^)]*?)\s*\)", "($1)"),
    Pattern(r"\[\s*([^\]]*?)\s*\]", "[$1]"),
    Pattern(r"\{\s*([^}]*?)\s*\}", "{$1}"),
    Pattern(r#""\s*([^"]*?)\s*""#, r#""$1""#),
    Pattern(r"'\s*([^']*?)\s*'", "'$1'"),
    Text("= = = =", "===="),
    Text("= = =", "==="),
    Text("= =", "=="),
    Text(" ° ", "°"),
    Text(" \n", "\n"),
    Text("\n ", "\n"),
    Text(" N ", " 1 "),
    Text(" 's", "'s"),
];

const PTB: &[Rule] = &[
    Text(" 's", "'s"),
    Text("s ' ", "s' "),
    Text(" n't", "n't"),
    Text(" \n ", "\n"),
    Text("\\/", "/"),
    // Neighbours share a space, so that one pass misses every other one.
    Text(" N ", " 1 "),
    Text(" N ", " 1 "),
    Text("$ 1", "$1"),
    Text("# 1", "#1"),
    Text("<unk>", "?"),
];

const LM1B: &[Rule] = &[
    Text("http : / / ", "http://"),
    Text("https : / / ", "https://"),
    Pattern(r" '(\w+)", "'$1"),
    Pattern(r" (\w+) \. ", " $1. "),
    // The original's patterns end before a line break at the end of the text, too.
    Pattern(r" (\w+) \.(\n?)$", " $1.$2"),
    Text(" ? ", "? "),
    Pattern(r" \?(\n?)$", "?$1"),
    Text(" ! ", "! "),
    Pattern(r" !(\n?)$", "!$1"),
    Text(" , ", ", "),
    Text(" : ", ": "),
    Text(" ; ", "; "),
    Text(" / ", "/"),
    Pattern(r#"" ([^"]+) ""#, r#""$1""#),
    Pattern(r"' ([^']+) '", "'$1'"),
    Pattern(r"\( ([^()]+) \)", "($1)"),
    Pattern(r"\[ ([^\[\]]+) \]", "[$1]"),
    Text("$ ", "$"),
    Text("£ ", "£"),
];

impl Detokenizer {
    /// The text as it was before.
    pub fn apply(self, text: &str) -> String {
        match self {
            Self::Wikitext => follow(WIKITEXT, text),
            Self::Ptb => follow(PTB, text),
            Self::Lm1b => follow(LM1B, text),
            Self::Lambada => format!("\n{}", text.replace(['“', '”'], "\"").trim()),
            Self::ScientificPapers => follow(LM1B, &follow(WIKITEXT, text)),
        }
    }
}

/// The patterns of all rules, compiled once.
static PATTERNS: LazyLock<HashMap<&str, Regex>> = LazyLock::new(|| {
    let rules = WIKITEXT.iter().chain(LM1B).chain(PTB);
    let patterns = rules.filter_map(|rule| match rule {
        Text(..) => None,
        Pattern(from, _) => Some((*from, Regex::new(from).expect("the patterns are valid"))),
    });
    patterns.collect()
});

fn follow(rules: &[Rule], text: &str) -> String {
    let text = rules
        .iter()
        .fold(Cow::Borrowed(text), |text, rule| match rule {
            Text(from, to) => Cow::Owned(text.replace(from, to)),
            Pattern(from, to) => Cow::Owned(PATTERNS[from].replace_all(&text, *to).into_owned()),
        });
    text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Pair {
        set: Detokenizer,
        input: String,
        output: String,
    }

    #[test]
    fn a_line_break_at_the_end_stays() {
        let detokenised = |text| Detokenizer::Lm1b.apply(text);
        assert_eq!(detokenised("It is so .\n"), "It is so.\n");
        assert_eq!(detokenised("Is it ?\n"), "Is it?\n");
        assert_eq!(detokenised("It is !"), "It is!");
    }

    #[test]
    fn texts_become_what_the_original_makes_of_them() {
        let pairs: Vec<Pair> =
            serde_json::from_str(include_str!("../../tests/golden/detokenizers.json")).unwrap();
        assert_eq!(pairs.len(), 40);
        for Pair { set, input, output } in pairs {
            assert_eq!(set.apply(&input), output, "{set:?} of {input:?}");
        }
    }
}
