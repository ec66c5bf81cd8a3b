use console::Style as Paint;
use pgm_generation::{StyledLetter, wrap_text};

/// How a part of a text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Known before anything was drawn.
    Given,
    /// Shown in the frame before, too.
    Drawn,
    /// New in this frame.
    New,
    /// Hidden.
    Blank,
}

impl Style {
    fn paint(self) -> Paint {
        let plain = Paint::new().for_stderr();
        match self {
            Self::Given => plain.cyan(),
            Self::Drawn => plain,
            Self::New => plain.green().bold(),
            Self::Blank => plain.dim(),
        }
    }
}

/// A text in lines of the terminal's width, as many as there is room for, and a line about it.
#[derive(Debug)]
pub struct Frame<'a> {
    text: Vec<&'a [StyledLetter<Style>]>,
    status: String,
}

/// A line with its colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameLine {
    /// What is written.
    pub text: String,
    /// Columns that it takes.
    pub n_columns: usize,
}

/// Rows that are not the text's: the status, and the one that the cursor stands in.
const OTHER_ROWS: usize = 2;

impl<'a> Frame<'a> {
    /// What fits into a terminal of `height` rows. Of a longer text the part is shown that begins with the line before
    /// the first blank, so that what is complete moves out at the top.
    pub fn new(text: &'a [StyledLetter<Style>], status: &str, width: usize, height: usize) -> Self {
        let mut lines = wrap_text(text, width);
        let n_shown = height.saturating_sub(OTHER_ROWS).max(1).min(lines.len());
        let is_blank = |letter: &StyledLetter<Style>| letter.style == Style::Blank;
        let blank = lines.iter().position(|line| line.iter().any(is_blank));
        let wanted = blank.unwrap_or(lines.len()).saturating_sub(1);
        let start = wanted.min(lines.len() - n_shown);
        lines.drain(..start);
        lines.truncate(n_shown);
        Self {
            text: lines,
            status: status.chars().take(width).collect(),
        }
    }

    /// The lines as they are written.
    pub fn lines(&self) -> Vec<FrameLine> {
        let text = self.text.iter().map(|line| FrameLine {
            text: painted(line),
            n_columns: line.iter().map(StyledLetter::width).sum(),
        });
        let status = FrameLine {
            text: Style::Blank.paint().apply_to(&self.status).to_string(),
            n_columns: self.status.chars().count(),
        };
        text.chain([status]).collect()
    }
}

fn painted(line: &[StyledLetter<Style>]) -> String {
    let runs = line.chunk_by(|a, b| a.style == b.style);
    runs.map(|run| {
        let letters: String = run.iter().map(|letter| letter.letter).collect();
        run[0].style.paint().apply_to(letters).to_string()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dots are blanks, capitals new.
    fn text(letters: &str) -> Vec<StyledLetter<Style>> {
        let style = |letter: char| match letter {
            '·' => Style::Blank,
            'A'..='Z' => Style::New,
            _ => Style::Drawn,
        };
        let letters = letters.chars();
        letters.map(|l| StyledLetter::new(l, style(l))).collect()
    }

    fn rows(letters: &str, width: usize, height: usize) -> Vec<String> {
        let text = text(letters);
        let frame = Frame::new(&text, "step 3 of 9", width, height);
        let letters = |line: &&[StyledLetter<Style>]| line.iter().map(|l| l.letter).collect();
        frame.text.iter().map(letters).collect()
    }

    #[test]
    fn text_is_wrapped_to_the_width() {
        assert_eq!(rows("the king ··· ···", 8, 24), ["the king", "··· ···"]);
        assert_eq!(rows("", 8, 24), [""]);
    }

    #[test]
    fn a_tall_text_is_shown_from_the_line_before_its_first_blank() {
        let lines = |letters: &str| rows(letters, 1, 5);
        // Of 5 rows 3 are the text's.
        assert_eq!(lines("a b · d e f"), ["b", "·", "d"]);
        assert_eq!(lines("· b c d e f"), ["·", "b", "c"]);
        assert_eq!(lines("a b c d e ·"), ["d", "e", "·"]);
        assert_eq!(lines("a b c d e f"), ["d", "e", "f"]);
        assert_eq!(lines("a ·"), ["a", "·"]);
        // However low the terminal is.
        assert_eq!(rows("a b · d", 1, 1), ["b"]);
    }

    #[test]
    fn the_status_stands_below_and_is_cut() {
        let text = text("a ···");
        let lines = Frame::new(&text, "step 3 of 9", 6, 24).lines();
        let columns: Vec<usize> = lines.iter().map(|line| line.n_columns).collect();
        assert_eq!(columns, [5, 6]);
        assert!(lines[1].text.contains("step 3") && !lines[1].text.contains("of"));
    }

    #[test]
    fn a_frame_is_never_taller_or_wider_than_the_terminal() {
        let text = text(&"a wide ··· KING\n\n日本 unpartitioned ···".repeat(4));
        for width in 2..30 {
            for height in 3..12 {
                let lines = Frame::new(&text, "step 3 of 9", width, height).lines();
                assert!(lines.len() < height, "{width} x {height}");
                assert!(lines.iter().all(|line| line.n_columns <= width));
            }
        }
    }
}
