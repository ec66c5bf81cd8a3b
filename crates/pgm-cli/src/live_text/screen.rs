use std::io::Write;

use super::frame::FrameLine;

/// Lines of a terminal that are written anew in place. No mode of the terminal is changed, so that there is nothing to
/// give back when the program is ended.
#[derive(Debug)]
pub struct Screen<W: Write> {
    output: W,
    /// Columns of the lines on the terminal.
    n_columns: Vec<usize>,
}

impl<W: Write> Screen<W> {
    /// The cursor stands at the beginning of a line.
    pub fn new(output: W) -> Self {
        Self {
            output,
            n_columns: Vec::new(),
        }
    }

    /// Shows lines in place of those before; the cursor stands below.
    pub fn draw(&mut self, lines: &[FrameLine], width: usize) {
        let mut codes = self.go_back(width);
        for line in lines {
            // Cleared first: at the end of a full line the cursor still stands on its last letter.
            codes += &format!("\x1b[2K{}\n", line.text);
        }
        codes += "\x1b[J";
        self.write(&codes);
        self.n_columns = lines.iter().map(|line| line.n_columns).collect();
    }

    /// Shows nothing; the cursor stands where the first line was.
    pub fn clear(&mut self, width: usize) {
        if !self.n_columns.is_empty() {
            let codes = self.go_back(width) + "\x1b[J";
            self.write(&codes);
            self.n_columns.clear();
        }
    }

    /// To the beginning of the lines. A terminal that was made narrower has broken them.
    fn go_back(&self, width: usize) -> String {
        let rows = self.n_columns.iter().map(|n| n.div_ceil(width).max(1));
        match rows.sum::<usize>() {
            0 => String::new(),
            n_rows => format!("\r\x1b[{n_rows}A"),
        }
    }

    /// In one piece, against flicker. What cannot be shown is no reason to stop.
    fn write(&mut self, codes: &str) {
        let _ = self.output.write_all(codes.as_bytes());
        let _ = self.output.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> FrameLine {
        FrameLine {
            text: text.to_owned(),
            n_columns: text.len(),
        }
    }

    #[test]
    fn lines_take_the_place_of_those_before_and_nothing_is_left() {
        let mut output = Vec::new();
        let mut screen = Screen::new(&mut output);
        screen.clear(80);
        screen.draw(&[line("one"), line("two")], 80);
        screen.draw(&[line("three")], 80);
        screen.clear(80);
        screen.clear(80);
        let expected = "\x1b[2Kone\n\x1b[2Ktwo\n\x1b[J\
                        \r\x1b[2A\x1b[2Kthree\n\x1b[J\
                        \r\x1b[1A\x1b[J";
        assert_eq!(String::from_utf8(output).expect("text"), expected);
    }

    #[test]
    fn lines_that_a_narrower_terminal_has_broken_are_found() {
        let mut output = Vec::new();
        let mut screen = Screen::new(&mut output);
        screen.draw(&[line("seven letters"), line(""), line("four")], 20);
        // 13 letters in 4 rows of 4 columns, an empty one, and one.
        screen.clear(4);
        let codes = String::from_utf8(output).expect("text");
        assert!(codes.ends_with("\r\x1b[6A\x1b[J"), "{codes:?}");
    }
}
