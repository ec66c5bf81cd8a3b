use discrete_diffusion::samplers::Context;

/// A text with blanks to be filled in: `The ___ of ___`.
///
/// - Three or more underscores are a blank. `___:5` has a length of 5 tokens; blanks without a length share
///   what is left of the sequence evenly, the first ones taking a token more where it does not divide.
/// - White space before a blank belongs to the blank, because the tokens of most tokenizers begin with it.
/// - A backslash before underscores makes them text: `\___`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// Its tokens, if stated.
    Blank(Option<usize>),
}

/// Why a template cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// There is nothing to fill in.
    #[error("the template has no blank; write `___` where text is to be filled in")]
    NoBlank,
    /// The length of a blank is no number of tokens.
    #[error(
        "a blank of `{found}` tokens is refused; wanted a length from 1 to 1000000, as in `___:5`"
    )]
    Length {
        /// What follows the colon.
        found: String,
    },
    /// The sequence is too short.
    #[error(
        "the template takes at least {needed} tokens ({known} of BOS and text, the rest for blanks), the sequence has {seq_len}; shorten it or take longer sequences"
    )]
    TooLong {
        /// Tokens with the shortest blanks.
        needed: usize,
        /// Tokens that are known.
        known: usize,
        /// Tokens of the sequence.
        seq_len: usize,
    },
}

/// Underscores that make a blank.
const BLANK: &str = "___";
const LONGEST_BLANK: usize = 1_000_000;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When there is no blank, or the length of one is not a number from 1 to 1000000.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut known = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(BLANK) {
            let (before, underscores) = rest.split_at(at);
            let behind = underscores.trim_start_matches('_');
            if let Some(before) = before.strip_suffix('\\') {
                known.push_str(before);
                known.push_str(&underscores[..underscores.len() - behind.len()]);
                rest = behind;
                continue;
            }
            known.push_str(before.trim_end());
            if !known.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut known)));
            }
            let (length, behind) = stated_length(behind)?;
            pieces.push(Piece::Blank(length));
            rest = behind;
        }
        known.push_str(rest);
        if !known.is_empty() {
            pieces.push(Piece::Text(known));
        }
        let is_blank = |piece: &Piece| matches!(piece, Piece::Blank(_));
        if pieces.iter().any(is_blank) {
            Ok(Self { pieces })
        } else {
            Err(TemplateError::NoBlank)
        }
    }

    /// What is known of a sequence: BOS and the text, each piece encoded by itself. With a length
    /// for every blank the sequence ends with the template, otherwise it has `seq_len` tokens.
    ///
    /// # Errors
    /// When the template does not fit into `seq_len` tokens, or `encode` fails.
    pub fn context<E: From<TemplateError>>(
        &self,
        bos_token: u32,
        seq_len: usize,
        mut encode: impl FnMut(&str) -> Result<Vec<u32>, E>,
    ) -> Result<Context, E> {
        let mut texts = Vec::new();
        let (mut known, mut stated, mut n_free) = (1, 0, 0);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    texts.push(encode(text)?);
                    known += texts.last().map_or(0, Vec::len);
                }
                Piece::Blank(Some(length)) => stated += length,
                Piece::Blank(None) => n_free += 1,
            }
        }
        let needed = known + stated + n_free;
        if needed > seq_len {
            let error = TemplateError::TooLong {
                needed,
                known,
                seq_len,
            };
            return Err(error.into());
        }
        let rest = seq_len - known - stated;
        let mut free = (0..n_free).map(|i| rest / n_free + (i < rest % n_free) as usize);
        let mut tokens = vec![Some(bos_token)];
        let mut texts = texts.into_iter();
        for piece in &self.pieces {
            match piece {
                Piece::Text(_) => tokens.extend(texts.next().into_iter().flatten().map(Some)),
                Piece::Blank(length) => {
                    let length = length.or_else(|| free.next()).unwrap_or(0);
                    tokens.resize(tokens.len() + length, None);
                }
            }
        }
        Ok(Context::from(tokens))
    }
}

/// The number behind a colon, where there is one, and what follows.
fn stated_length(text: &str) -> Result<(Option<usize>, &str), TemplateError> {
    let Some(behind) = text.strip_prefix(':') else {
        return Ok((None, text));
    };
    let n_digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = behind.split_at(n_digits);
    if digits.is_empty() {
        return Ok((None, text));
    }
    match digits.parse() {
        Ok(length @ 1..=LONGEST_BLANK) => Ok((Some(length), rest)),
        _ => Err(TemplateError::Length {
            found: digits.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    /// One token a byte.
    fn context(template: &str, seq_len: usize) -> Result<String, TemplateError> {
        let bytes = |text: &str| Ok(text.bytes().map(u32::from).collect());
        let context = Template::parse(template)?.context(u32::from(b'^'), seq_len, bytes)?;
        let char_of = |token: &Option<u32>| token.map_or('?', |t| t as u8 as char);
        Ok(context.tokens().iter().map(char_of).collect())
    }

    #[test]
    fn blanks_are_found() {
        let parsed = |text: &str| Template::parse(text).map(|template| template.pieces);
        assert_eq!(
            parsed("The ___ of ____:5, ___: x").unwrap(),
            [
                text("The"),
                Piece::Blank(None),
                text(" of"),
                Piece::Blank(Some(5)),
                text(","),
                Piece::Blank(None),
                text(": x"),
            ]
        );
        assert_eq!(
            parsed(r"a \___ b __ ___").unwrap(),
            [text("a ___ b __"), Piece::Blank(None)]
        );
        assert_eq!(parsed("no blank"), Err(TemplateError::NoBlank));
        assert_eq!(parsed(r"\___"), Err(TemplateError::NoBlank));
        for found in ["0", "1000001", "99999999999999999999999999"] {
            let error = parsed(&format!("___:{found}")).unwrap_err();
            let found = found.to_owned();
            assert_eq!(error, TemplateError::Length { found });
        }
    }

    #[test]
    fn free_blanks_share_what_is_left() {
        // 10 tokens, of which BOS and 3 letters are known and 1 is stated: 5 for two blanks.
        assert_eq!(context("a___b___:1c___", 10).unwrap(), "^a???b?c??");
        assert_eq!(context("a ___:2 b", 10).unwrap(), "^a?? b");
        assert_eq!(context("___", 4).unwrap(), "^???");
    }

    #[test]
    fn a_template_that_does_not_fit_is_refused_with_the_numbers() {
        let error = context("abc___d___:2", 7).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the template takes at least 8 tokens (5 of BOS and text, the rest for blanks), the sequence has 7; shorten it or take longer sequences"
        );
        assert_eq!(context("abc___d___:2", 8).unwrap(), "^abc?d??");
    }

    /// Every text of a few awkward characters, up to 6 of them: no panic, and nothing known gets lost.
    #[test]
    fn any_text_is_a_template_or_refused() {
        let alphabet = ['_', ':', '7', '\\', ' ', 'é'];
        let mut n_parsed = 0;
        for length in 0..=6u32 {
            for index in 0..alphabet.len().pow(length) {
                let letter = |i| alphabet[index / alphabet.len().pow(i) % alphabet.len()];
                let tail: String = (0..length).map(letter).collect();
                let template = format!("x__{tail}y");
                let Ok(parsed) = Template::parse(&template) else {
                    continue;
                };
                n_parsed += 1;
                let known: String = parsed
                    .pieces
                    .iter()
                    .filter_map(|piece| match piece {
                        Piece::Text(text) => Some(text.as_str()),
                        Piece::Blank(_) => None,
                    })
                    .collect();
                assert!(known.starts_with('x') && known.ends_with('y'), "{template}");
                let count = |text: &str| text.matches('é').count();
                assert_eq!(count(&known), count(&template), "{template}");
            }
        }
        assert!(n_parsed > 1000, "{n_parsed}");
    }
}
