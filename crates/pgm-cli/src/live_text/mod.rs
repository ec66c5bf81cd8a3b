//! A text on the terminal while it is drawn: blanks that fill up, in whatever order.

mod frame;
mod screen;

use std::io::{Stderr, stderr};
use std::time::{Duration, Instant};

use console::Term;
use pgm_data::Tokenizer;
use pgm_generation::{
    Context, GenerationProgress, StyledLetter, TextPiece, partial_text, shown_len,
};

use self::frame::{Frame, Style};
use self::screen::Screen;
use crate::log_output;

/// Between two frames.
const INTERVAL: Duration = Duration::from_millis(30);

/// A hidden token: as long as most are, and its space.
const BLANK: &str = " ···";

/// Rows and columns where the terminal does not say.
const USUAL_SIZE: (u16, u16) = (24, 80);

/// Shows the first sequence of the batch that is being drawn, on stderr; cleared when it is dropped. Log lines wait
/// until then.
pub struct LiveText<'a> {
    tokenizer: &'a Tokenizer,
    contexts: &'a [Context],
    eos_token: Option<u32>,
    screen: Screen<Stderr>,
    /// What the last frame showed, and of which batch.
    shown: (usize, Vec<Option<u32>>),
    last_frame: Option<Instant>,
}

impl<'a> LiveText<'a> {
    /// Of sequences that end with `eos_token`, if there is one.
    pub fn new(tokenizer: &'a Tokenizer, contexts: &'a [Context], eos_token: Option<u32>) -> Self {
        log_output::hold();
        Self {
            tokenizer,
            contexts,
            eos_token,
            screen: Screen::new(stderr()),
            shown: (0, Vec::new()),
            last_frame: None,
        }
    }

    /// Shows what is known, if the last frame is some time ago.
    pub fn hear(&mut self, progress: &GenerationProgress) {
        if self.last_frame.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        let context = &self.contexts[progress.first_context];
        let tokens = progress.steps.sequence(0);
        let tokens = &tokens[..shown_len(context, tokens, self.eos_token)];
        // A text that cannot be decoded is an error in the end, not here.
        let Ok(pieces) = partial_text(self.tokenizer, tokens) else {
            return;
        };
        if self.shown.0 != progress.batch || self.last_frame.is_none() {
            self.shown = (progress.batch, context.tokens().to_vec());
        }
        let text = styled(&pieces, |at| {
            match (context.tokens()[at], self.shown.1.get(at)) {
                (Some(_), _) => Style::Given,
                (None, Some(before)) if *before == tokens[at] => Style::Drawn,
                _ => Style::New,
            }
        });
        let (height, width) = size();
        let frame = Frame::new(&text, &self.status(progress, &pieces), width, height);
        self.screen.draw(&frame.lines(), width);
        self.shown.1 = tokens.to_vec();
        self.last_frame = Some(Instant::now());
    }

    fn status(&self, progress: &GenerationProgress, pieces: &[TextPiece]) -> String {
        let n_positions: usize = pieces.iter().map(|piece| piece.positions.len()).sum();
        let known = pieces.iter().filter(|piece| piece.text.is_some());
        let n_known: usize = known.map(|piece| piece.positions.len()).sum();
        let text = match self.contexts.len() {
            1 => String::new(),
            n => format!("text {} of {n}, ", progress.first_context + 1),
        };
        format!(
            "{text}step {} of {}, {} % known",
            progress.steps.n_done,
            progress.steps.n_steps,
            100 * n_known / n_positions.max(1),
        )
    }
}

impl Drop for LiveText<'_> {
    fn drop(&mut self) {
        self.screen.clear(size().1);
        log_output::release();
    }
}

/// Letters with the style of their position; nothing blank in front, as in the text that is printed.
fn styled(pieces: &[TextPiece], style: impl Fn(usize) -> Style) -> Vec<StyledLetter<Style>> {
    let letters = pieces.iter().flat_map(|piece| {
        let style = match piece.text {
            Some(_) => style(piece.positions.start),
            None => Style::Blank,
        };
        let text = piece.text.as_deref().unwrap_or(BLANK);
        text.chars()
            .map(move |letter| StyledLetter::new(letter, style))
    });
    letters.skip_while(|l| l.letter.is_whitespace()).collect()
}

/// Rows and columns of the terminal.
fn size() -> (usize, usize) {
    let said = Term::stderr().size_checked();
    let (rows, columns) = said
        .filter(|&(rows, columns)| rows > 0 && columns > 0)
        .unwrap_or(USUAL_SIZE);
    (rows.into(), columns.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(at: usize, text: Option<&str>) -> TextPiece {
        TextPiece {
            positions: at..at + 1,
            text: text.map(str::to_owned),
        }
    }

    #[test]
    fn hidden_tokens_are_blanks_between_the_known_ones() {
        let pieces = [
            piece(1, Some(" The")),
            piece(2, None),
            piece(3, Some(" k")),
            piece(4, None),
        ];
        let style = |at| if at == 1 { Style::Given } else { Style::New };
        let letters = styled(&pieces, style);
        let text: String = letters.iter().map(|l| l.letter).collect();
        assert_eq!(text, "The ··· k ···");
        let styles: Vec<Style> = letters.iter().map(|l| l.style).collect();
        assert_eq!(styles[..3], [Style::Given; 3]);
        assert_eq!(styles[3..7], [Style::Blank; 4]);
        assert_eq!(styles[7..9], [Style::New; 2]);
        assert_eq!(styles[9..], [Style::Blank; 4]);
    }
}
