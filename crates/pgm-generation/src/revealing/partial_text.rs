use std::ops::Range;

use discrete_diffusion::samplers::Context;
use pgm_data::{DataError, Tokenizer};

/// Tokens that can stand for one character together: one a byte.
const MAX_CHARACTER_TOKENS: usize = 4;

/// A part of a sequence: known tokens that make whole characters, or one hidden token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPiece {
    /// Its positions in the sequence.
    pub positions: Range<usize>,
    /// Its text with the space in front; `None` where hidden.
    pub text: Option<String>,
}

/// The text of a sequence of which some tokens are hidden, piece by piece. As in
/// [`Tokenizer::decode_sequence`], a BOS in front and an EOS at the end are left out.
///
/// # Errors
/// When the decoder of a foreign tokenizer fails.
pub fn partial_text(
    tokenizer: &Tokenizer,
    tokens: &[Option<u32>],
) -> Result<Vec<TextPiece>, DataError> {
    let start = usize::from(tokens.first() == Some(&Some(tokenizer.bos_id())));
    let has_end = tokens.len() > start && tokens.last() == Some(&Some(tokenizer.eos_id()));
    let end = tokens.len() - usize::from(has_end);
    let decoder = PieceDecoder::new(tokenizer)?;
    let mut pieces = Vec::new();
    let mut at = start;
    while at < end {
        let most = (at + MAX_CHARACTER_TOKENS).min(end);
        let known: Vec<u32> = tokens[at..most].iter().map_while(|token| *token).collect();
        let (n, text) = decoder.first_characters(&known)?;
        pieces.push(TextPiece {
            positions: at..at + n,
            text,
        });
        at += n;
    }
    Ok(pieces)
}

/// Decodes tokens as what stands inside of a text.
pub(super) struct PieceDecoder<'a> {
    tokenizer: &'a Tokenizer,
    /// The text of BOS.
    bos: String,
}

impl<'a> PieceDecoder<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self, DataError> {
        let bos = tokenizer.decode(&[tokenizer.bos_id()])?;
        Ok(Self { tokenizer, bos })
    }

    /// Decoders treat the first token of a text in another way than those that follow, so that BOS goes before.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        let text = [&[self.tokenizer.bos_id()], tokens].concat();
        let text = self.tokenizer.decode(&text)?;
        match text.strip_prefix(&self.bos) {
            Some(text) => Ok(text.to_owned()),
            None => self.tokenizer.decode(tokens),
        }
    }

    /// The fewest of the tokens that end with a whole character, and their text. A character that is not completed
    /// is one token, as U+FFFD; no token is one that is hidden.
    fn first_characters(&self, known: &[u32]) -> Result<(usize, Option<String>), DataError> {
        let Some(first) = known.get(..1) else {
            return Ok((1, None));
        };
        let alone = self.decode(first)?;
        if is_whole(&alone) {
            return Ok((1, Some(alone)));
        }
        for n in 2..=known.len() {
            let text = self.decode(&known[..n])?;
            if is_whole(&text) {
                return Ok((n, Some(text)));
            }
        }
        Ok((1, Some(alone)))
    }
}

fn is_whole(text: &str) -> bool {
    !text.ends_with(char::REPLACEMENT_CHARACTER)
}

/// Positions up to and including the first EOS that was drawn behind everything given, if that ends the text: what
/// follows is not part of it.
pub fn shown_len(context: &Context, tokens: &[Option<u32>], eos_token: Option<u32>) -> usize {
    let given = context.tokens().iter().rposition(Option::is_some);
    let start = given.map_or(0, |last| last + 1).min(tokens.len());
    let is_end = |token: &Option<u32>| token.is_some() && *token == eos_token;
    let end = tokens[start..].iter().position(is_end);
    end.map_or(tokens.len(), |at| start + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        // Without characters of several bytes.
        let text = include_str!("../sampling_settings.rs").to_owned();
        Tokenizer::train_bpe([text].into_iter(), 400).unwrap()
    }

    fn texts(tokenizer: &Tokenizer, tokens: &[Option<u32>]) -> Vec<Option<String>> {
        let pieces = partial_text(tokenizer, tokens).unwrap();
        let mut at = pieces.first().map_or(0, |piece| piece.positions.start);
        for piece in &pieces {
            assert_eq!(piece.positions.start, at, "positions follow each other");
            at = piece.positions.end;
        }
        pieces.into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn pieces_of_a_whole_sequence_are_its_text() {
        let tokenizer = tokenizer();
        let text = "let tokens = \"Ünïcödé 🙂 日本\";\n\n    return";
        let (bos, eos) = (tokenizer.bos_id(), tokenizer.eos_id());
        let tokens = [&[bos][..], &tokenizer.encode(text).unwrap(), &[eos]].concat();
        let known: Vec<Option<u32>> = tokens.iter().copied().map(Some).collect();
        let joined: Option<String> = texts(&tokenizer, &known).into_iter().collect();
        assert_eq!(joined.as_deref(), Some(text));
        assert_eq!(joined.unwrap(), tokenizer.decode_sequence(&tokens).unwrap());
    }

    #[test]
    fn hidden_tokens_are_pieces_of_their_own_and_characters_are_not_cut() {
        let tokenizer = tokenizer();
        // Four tokens, one a byte.
        let smile = tokenizer.encode("🙂").unwrap();
        assert_eq!(smile.len(), 4);
        let mut tokens: Vec<Option<u32>> = smile.iter().copied().map(Some).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts(&tokenizer, &tokens), [some("🙂")]);
        tokens[2] = None;
        let cut = [some("\u{fffd}"), some("\u{fffd}"), None, some("\u{fffd}")];
        assert_eq!(texts(&tokenizer, &tokens), cut);
        tokens.insert(0, None);
        assert_eq!(texts(&tokenizer, &tokens)[0], None);
        assert!(texts(&tokenizer, &[Some(tokenizer.bos_id())]).is_empty());
        assert!(texts(&tokenizer, &[]).is_empty());
    }

    #[test]
    fn a_text_ends_with_the_first_drawn_eos() {
        let context = Context::new(6, 9).with_token(3, 5).unwrap();
        let known = |tokens: [i64; 6]| tokens.map(|token| u32::try_from(token).ok());
        // EOS is 2: one before what is given ends nothing, the first one behind it does.
        let tokens = known([9, 2, -1, 5, -1, -1]);
        assert_eq!(shown_len(&context, &tokens, Some(2)), 6);
        let tokens = known([9, 2, -1, 5, 2, 2]);
        assert_eq!(shown_len(&context, &tokens, Some(2)), 5);
        assert_eq!(shown_len(&context, &tokens, None), 6);
        assert_eq!(shown_len(&context, &[], Some(2)), 0);
    }
}
