use std::fmt::Write;

use discrete_diffusion::samplers::Context;
use pgm_data::{DataError, Tokenizer};

use super::partial_text::{PieceDecoder, TextPiece, partial_text};
use super::styled_text::{StyledLetter, wrap_text};
use crate::GenerationProgress;

// Pixels.
const WIDTH: f64 = 860.0;
const MARGIN: f64 = 24.0;
/// Of a letter. No usual fixed-width font of 14 pixels is wider, so that letters do not overlap even where
/// `textLength` is not known.
const COLUMN: f64 = 8.5;
const LINE: f64 = 22.0;
const CAPTION: f64 = 26.0;
const BETWEEN_PANELS: f64 = 20.0;
const BAR: f64 = 140.0;

/// Columns of a line.
const N_COLUMNS: usize = ((WIDTH - 2.0 * MARGIN) / COLUMN) as usize;

const STYLE: &str = "\
.paper{fill:#ffffff;stroke:#d0d7de}.caption{fill:#57606a;font-size:12.5px;font-weight:600;\
font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif}\
.drawn,.given{font-size:14px;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}\
.drawn{fill:#1f2328}.given{fill:#0969da}.blank{fill:#e4e8ec}.share{fill:#8c959f}\
@media(prefers-color-scheme:dark){.paper{fill:#0d1117;stroke:#30363d}.caption{fill:#9198a1}\
.drawn{fill:#e6edf3}.given{fill:#58a6ff}.blank{fill:#262c36}.share{fill:#6e7681}}";

/// A picture of the steps in which a text emerges: the first sequence that a [`Generator`](crate::Generator) draws.
///
/// The picture is an SVG with a panel for each of the steps 1, 4, 16, ... and for the last one. Hidden tokens are
/// bars as long as the tokens that stand there in the end, so that the text of all panels stands in the same place;
/// what was given is coloured.
#[derive(Debug, Clone)]
pub struct RevealPicture {
    context: Context,
    /// Steps with what was known after them.
    snapshots: Vec<(usize, Vec<Option<u32>>)>,
    n_steps: usize,
}

impl RevealPicture {
    /// Of a sequence with this context, as yet without a step.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            snapshots: Vec::new(),
            n_steps: 0,
        }
    }

    /// Notes what is known after a step. Steps that are left out as superfluous do not count.
    pub fn hear(&mut self, progress: &GenerationProgress) {
        if progress.batch == 0 && progress.steps.n_done > 0 {
            self.note(progress.steps.sequence(0));
        }
    }

    fn note(&mut self, known: &[Option<u32>]) {
        self.n_steps += 1;
        if self.n_steps.is_power_of_two() && self.n_steps.trailing_zeros().is_multiple_of(2) {
            self.snapshots.push((self.n_steps, known.to_vec()));
        }
    }

    /// The picture; `sequence` is the one that was drawn in the end.
    ///
    /// # Errors
    /// When the decoder of a foreign tokenizer fails.
    pub fn svg(&self, tokenizer: &Tokenizer, sequence: &[u32]) -> Result<String, DataError> {
        let last: Vec<Option<u32>> = sequence.iter().copied().map(Some).collect();
        let earlier = self
            .snapshots
            .iter()
            .filter(|(step, _)| *step < self.n_steps);
        let states = earlier
            .map(|(step, known)| (*step, &known[..]))
            .chain([(self.n_steps, &last[..])]);
        let text = FinalText {
            pieces: partial_text(tokenizer, &last)?,
            tokens: &last,
            context: &self.context,
            decoder: PieceDecoder::new(tokenizer)?,
        };
        let mut drawing = Drawing::default();
        for (step, known) in states {
            let caption = format!(
                "step {step} of {}: {} % known",
                self.n_steps,
                percent(text.share(known))
            );
            drawing.panel(&caption, text.share(known), &text.letters(known)?);
        }
        Ok(drawing.finish())
    }
}

/// 0 and 100 are what they say.
fn percent(share: f64) -> usize {
    match share {
        0.0 | 1.0 => (100.0 * share) as usize,
        _ => ((100.0 * share).round() as usize).clamp(1, 99),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    Given,
    Drawn,
    /// Hidden, as part of a piece of the text.
    Blank(usize),
}

/// What the text is in the end, and what of it is known before.
struct FinalText<'a> {
    pieces: Vec<TextPiece>,
    tokens: &'a [Option<u32>],
    context: &'a Context,
    decoder: PieceDecoder<'a>,
}

impl FinalText<'_> {
    /// Known positions, as a share of those that the text has.
    fn share(&self, known: &[Option<u32>]) -> f64 {
        let positions = || self.pieces.iter().flat_map(|piece| piece.positions.clone());
        let n_known = positions().filter(|&at| known[at].is_some()).count();
        n_known as f64 / positions().count().max(1) as f64
    }

    fn letters(&self, known: &[Option<u32>]) -> Result<Vec<StyledLetter<Ink>>, DataError> {
        let mut letters = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let tokens = &known[piece.positions.clone()];
            let is_known = tokens.iter().all(Option::is_some);
            let ink = match self.context.tokens().get(piece.positions.start) {
                _ if !is_known => Ink::Blank(index),
                Some(Some(_)) => Ink::Given,
                _ => Ink::Drawn,
            };
            let last = piece.text.as_deref().unwrap_or_default();
            // A token that is taken back later is another one than in the end.
            let is_taken_back = is_known && *tokens != self.tokens[piece.positions.clone()];
            let text = if is_taken_back {
                let tokens: Vec<u32> = tokens.iter().flatten().copied().collect();
                self.decoder.decode(&tokens)?
            } else {
                last.to_owned()
            };
            letters.extend(text.chars().map(|letter| StyledLetter::new(letter, ink)));
        }
        Ok(without_lines(letters))
    }
}

/// Ends of lines as spaces, those with an empty line behind them as pilcrows; nothing blank at both ends.
fn without_lines(mut letters: Vec<StyledLetter<Ink>>) -> Vec<StyledLetter<Ink>> {
    let is_blank = |letter: &StyledLetter<Ink>| letter.letter.is_whitespace();
    let end = letters.iter().rposition(|letter| !is_blank(letter));
    letters.truncate(end.map_or(0, |last| last + 1));
    let start = letters.iter().take_while(|letter| is_blank(letter)).count();
    letters.drain(..start);
    for i in 0..letters.len() {
        if letters[i].letter == '\n' {
            let is_paragraph = letters.get(i + 1).is_some_and(|next| next.letter == '\n');
            letters[i].letter = if is_paragraph { '¶' } else { ' ' };
        }
    }
    letters
}

/// The panels, from the top.
#[derive(Default)]
struct Drawing {
    body: String,
    n_panels: usize,
    height: f64,
}

impl Drawing {
    fn panel(&mut self, caption: &str, share: f64, letters: &[StyledLetter<Ink>]) {
        let top = match self.n_panels {
            0 => MARGIN,
            _ => self.height + BETWEEN_PANELS,
        };
        self.n_panels += 1;
        let bar = WIDTH - MARGIN - BAR;
        self.push(format_args!(
            "<text class=\"caption\" x=\"{MARGIN}\" y=\"{}\">{caption}</text>\n\
             <rect class=\"blank\" x=\"{bar}\" y=\"{y}\" width=\"{BAR}\" height=\"6\" rx=\"3\"/>\n\
             <rect class=\"share\" x=\"{bar}\" y=\"{y}\" width=\"{:.1}\" height=\"6\" rx=\"3\"/>\n",
            top + 12.0,
            BAR * share,
            y = top + 4.0,
        ));
        let lines = wrap_text(letters, N_COLUMNS);
        for (i, line) in lines.iter().enumerate() {
            self.line(line, top + CAPTION + LINE * i as f64);
        }
        self.height = top + CAPTION + LINE * lines.len() as f64;
    }

    /// Words and bars, each in its place.
    fn line(&mut self, line: &[StyledLetter<Ink>], top: f64) {
        let mut column = 0;
        let is_run = |a: &StyledLetter<Ink>, b: &StyledLetter<Ink>| {
            a.style == b.style && (a.letter == ' ') == (b.letter == ' ')
        };
        for run in line.chunk_by(is_run) {
            let n_columns: usize = run.iter().map(StyledLetter::width).sum();
            let x = MARGIN + COLUMN * column as f64;
            let width = COLUMN * n_columns as f64;
            column += n_columns;
            let class = match run[0].style {
                _ if run[0].letter == ' ' || n_columns == 0 => continue,
                Ink::Blank(_) => {
                    self.push(format_args!(
                        "<rect class=\"blank\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"15\" rx=\"3\"/>\n",
                        x + 0.75,
                        top + 3.5,
                        width - 1.5,
                    ));
                    continue;
                }
                Ink::Given => "given",
                Ink::Drawn => "drawn",
            };
            let word: String = run.iter().map(|letter| letter.letter).collect();
            self.push(format_args!(
                "<text class=\"{class}\" x=\"{x}\" y=\"{}\" textLength=\"{width}\" \
                 lengthAdjust=\"spacingAndGlyphs\">{}</text>\n",
                top + 15.5,
                escaped(&word),
            ));
        }
    }

    fn push(&mut self, element: std::fmt::Arguments) {
        self.body
            .write_fmt(element)
            .expect("a string can always be written to");
    }

    fn finish(self) -> String {
        let height = self.height + MARGIN - 4.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
             <title>A text at {} of the steps in which it is drawn</title>\n\
             <style>{STYLE}</style>\n\
             <rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
             {}</svg>\n",
            self.n_panels,
            WIDTH - 1.0,
            height - 1.0,
            self.body,
        )
    }
}

/// Text as XML has it; what XML does not allow is not among styled letters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let text = include_str!("../sampling_settings.rs").to_owned();
        Tokenizer::train_bpe([text].into_iter(), 300).unwrap()
    }

    /// The picture of a text that is revealed from the right, one token a step.
    fn picture(tokenizer: &Tokenizer, text: &str, n_given: usize) -> String {
        let tokens = tokenizer.encode(text).unwrap();
        let sequence = [&[tokenizer.bos_id()][..], &tokens].concat();
        let known = |n_steps: usize| -> Vec<Option<u32>> {
            let is_known = |at: usize| at <= n_given || at >= sequence.len() - n_steps;
            let tokens = sequence.iter().enumerate();
            tokens
                .map(|(at, token)| is_known(at).then_some(*token))
                .collect()
        };
        let mut picture = RevealPicture::new(Context::from(known(0)));
        (1..=tokens.len() - n_given).for_each(|step| picture.note(&known(step)));
        picture.svg(tokenizer, &sequence).unwrap()
    }

    /// The texts of elements of a class.
    fn texts<'a>(svg: &'a str, class: &str) -> Vec<&'a str> {
        let begin = format!("<text class=\"{class}\"");
        let elements = svg.lines().filter(|line| line.starts_with(&begin));
        elements
            .map(|line| {
                let content = line.split_once('>').unwrap().1;
                content.strip_suffix("</text>").unwrap()
            })
            .collect()
    }

    #[test]
    fn panels_show_the_steps_1_4_16_and_the_last() {
        let tokenizer = tokenizer();
        // 20 tokens, one a byte.
        let svg = picture(&tokenizer, "0123456789ZYXWVUQKJH", 0);
        let captions = [
            "step 1 of 20: 5 % known",
            "step 4 of 20: 20 % known",
            "step 16 of 20: 80 % known",
            "step 20 of 20: 100 % known",
        ];
        assert_eq!(texts(&svg, "caption"), captions);
        let shown = ["H", "QKJH", "456789ZYXWVUQKJH", "0123456789ZYXWVUQKJH"];
        assert_eq!(texts(&svg, "drawn"), shown);
        // A bar for each hidden token, and one behind each share.
        let n_bars = svg.matches("<rect class=\"blank\"").count();
        assert_eq!(n_bars, 19 + 16 + 4 + 4);
        let four = picture(&tokenizer, "ZYXW", 0);
        let captions = ["step 1 of 4: 25 % known", "step 4 of 4: 100 % known"];
        assert_eq!(texts(&four, "caption"), captions);
    }

    #[test]
    fn what_is_given_is_dark_from_the_start_in_its_own_colour() {
        let tokenizer = tokenizer();
        let svg = picture(&tokenizer, "ZYXW", 2);
        let captions = ["step 1 of 2: 75 % known", "step 2 of 2: 100 % known"];
        assert_eq!(texts(&svg, "caption"), captions);
        assert_eq!(texts(&svg, "given"), ["ZY", "ZY"]);
        assert_eq!(texts(&svg, "drawn"), ["W", "XW"]);
    }

    #[test]
    fn text_is_escaped_and_control_characters_are_replaced() {
        let svg = picture(&tokenizer(), "<a href=\"&\">'\u{1b}\u{0}\u{ffff}", 0);
        let last = *texts(&svg, "drawn").last().unwrap();
        assert_eq!(
            last,
            "href=&quot;&amp;&quot;&gt;&apos;\u{fffd}\u{fffd}\u{fffd}"
        );
        assert!(texts(&svg, "drawn").contains(&"&lt;a"));
        let allowed = |letter: char| letter == '\n' || !letter.is_control();
        assert!(svg.chars().all(allowed));
    }

    #[test]
    fn ends_of_lines_are_spaces_and_paragraphs_pilcrows() {
        let svg = picture(&tokenizer(), "\n a\nb\n\nc \n", 0);
        let words = texts(&svg, "drawn");
        assert_eq!(words[words.len() - 3..], ["a", "b¶", "c"]);
    }

    #[test]
    fn words_stay_in_their_place_and_in_the_picture() {
        let tokenizer = tokenizer();
        let svg = picture(&tokenizer, &"a wide picture ".repeat(30), 0);
        let number = |line: &str, name: &str| -> f64 {
            let value = line.split_once(&format!(" {name}=\"")).unwrap().1;
            value.split_once('"').unwrap().0.parse().unwrap()
        };
        let words = || {
            svg.lines()
                .filter(|line| line.starts_with("<text class=\"drawn\""))
        };
        // Words of a line follow each other with a column between them; each is as long as its letters.
        let mut end = (0.0, 0.0);
        for word in words() {
            let (x, y) = (number(word, "x"), number(word, "y"));
            let width = number(word, "textLength");
            assert!(y != end.1 || x >= end.0, "{word}");
            assert!(x >= MARGIN && x + width <= WIDTH - MARGIN, "{word}");
            end = (x + width, y);
        }
        let height = number(svg.lines().next().unwrap(), "height");
        assert!(end.1 < height);
        assert_eq!(svg, picture(&tokenizer, &"a wide picture ".repeat(30), 0));
    }

    #[test]
    fn tokens_that_are_taken_back_are_shown_as_they_were() {
        let tokenizer = tokenizer();
        let known = |text: &str| -> Vec<Option<u32>> {
            let tokens = tokenizer.encode(text).unwrap();
            let hidden = tokenizer.encode("_").unwrap()[0];
            let tokens = [&[tokenizer.bos_id()][..], &tokens].concat();
            let is_known = |token: &u32| (*token != hidden).then_some(*token);
            tokens.iter().map(is_known).collect()
        };
        let mut picture = RevealPicture::new(Context::from(known("___")));
        ["_Y_", "Z__", "Z_X", "ZJX", "ZKX"]
            .iter()
            .for_each(|text| picture.note(&known(text)));
        let sequence: Vec<u32> = known("ZKX").into_iter().flatten().collect();
        let svg = picture.svg(&tokenizer, &sequence).unwrap();
        assert_eq!(texts(&svg, "drawn"), ["Y", "ZJX", "ZKX"]);
        let captions = texts(&svg, "caption");
        assert_eq!(captions[0], "step 1 of 5: 33 % known");
        assert_eq!(captions[1], "step 4 of 5: 100 % known");
    }

    #[test]
    fn few_known_tokens_are_not_none_and_many_not_all() {
        assert_eq!(
            [0.0, 0.001, 0.5, 0.999, 1.0].map(percent),
            [0, 1, 50, 99, 100]
        );
    }
}
