use unicode_width::UnicodeWidthChar;

/// A letter and how it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StyledLetter<S> {
    /// A character that can be shown, a space, or the end of a line.
    pub letter: char,
    /// How it is shown.
    pub style: S,
}

impl<S> StyledLetter<S> {
    /// A letter of a drawn text, which can hold anything: white space other than the end of a line becomes a space,
    /// and a control character U+FFFD.
    pub fn new(letter: char, style: S) -> Self {
        let letter = match letter {
            '\n' => '\n',
            _ if letter.is_whitespace() => ' ',
            // The last two are not allowed in XML.
            _ if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                char::REPLACEMENT_CHARACTER
            }
            _ => letter,
        };
        Self { letter, style }
    }

    /// Columns of a fixed-width font: 2 for wide characters, 0 for marks on the letter before.
    pub fn width(&self) -> usize {
        self.letter.width().unwrap_or(0)
    }
}

/// Cuts a text into lines of `width` columns at most, at spaces where there are some.
///
/// Spaces at a cut are left out.
pub fn wrap_text<S>(text: &[StyledLetter<S>], width: usize) -> Vec<&[StyledLetter<S>]> {
    let paragraphs = text.split(|letter| letter.letter == '\n');
    paragraphs.flat_map(|text| wrap_line(text, width)).collect()
}

fn wrap_line<S>(mut rest: &[StyledLetter<S>], width: usize) -> Vec<&[StyledLetter<S>]> {
    let is_space = |letter: &StyledLetter<S>| letter.letter == ' ';
    let mut lines = Vec::new();
    loop {
        let mut columns = 0;
        let fitting = rest.iter().take_while(|letter| {
            columns += letter.width();
            columns <= width
        });
        let n = fitting.count();
        if n == rest.len() {
            lines.push(rest);
            return lines;
        }
        // A space behind the last letter that fits is a cut, too.
        let space = rest[..=n].iter().rposition(is_space).filter(|&at| at > 0);
        let end = space.unwrap_or(n.max(1));
        lines.push(&rest[..end]);
        let n_spaces = rest[end..].iter().take_while(|l| is_space(l)).count();
        rest = &rest[end + n_spaces..];
        if rest.is_empty() {
            return lines;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(text: &str) -> Vec<StyledLetter<()>> {
        text.chars().map(|l| StyledLetter::new(l, ())).collect()
    }

    fn lines(text: &str, width: usize) -> Vec<String> {
        let letters = letters(text);
        let lines = wrap_text(&letters, width);
        lines
            .iter()
            .map(|line| line.iter().map(|l| l.letter).collect())
            .collect()
    }

    #[test]
    fn lines_are_cut_at_spaces() {
        assert_eq!(lines("the king was here", 8), ["the king", "was here"]);
        assert_eq!(
            lines("the king was here", 7),
            ["the", "king", "was", "here"]
        );
        assert_eq!(lines("the  king", 4), ["the ", "king"]);
        assert_eq!(lines("a\n\nb c", 9), ["a", "", "b c"]);
        assert_eq!(lines("", 5), [""]);
        assert_eq!(lines("ab  ", 2), ["ab"]);
    }

    #[test]
    fn long_words_and_wide_letters_are_cut_where_they_have_to() {
        assert_eq!(lines("unpartitioned", 5), ["unpar", "titio", "ned"]);
        assert_eq!(lines("日本語", 5), ["日本", "語"]);
        // Nothing fits; there is progress all the same.
        assert_eq!(lines("日本", 1), ["日", "本"]);
        // The accent needs no column.
        assert_eq!(lines("ae\u{301}i", 3), ["ae\u{301}i"]);
    }

    #[test]
    fn what_cannot_be_shown_is_replaced() {
        let shown = |text: &str| letters(text).iter().map(|l| l.letter).collect::<String>();
        assert_eq!(
            shown("a\tb\u{1b}[2Jc\r\n\u{0}"),
            "a b\u{fffd}[2Jc \n\u{fffd}"
        );
        assert_eq!(shown("\u{a0}\u{ffff}\u{85}"), " \u{fffd} ");
    }

    #[test]
    fn no_letter_is_lost_and_no_line_is_too_long() {
        // All texts of 6 of these letters.
        let alphabet = ['a', 'b', ' ', '\n', '日'];
        for number in 0..alphabet.len().pow(6) {
            let digit = |i: u32| alphabet[number / alphabet.len().pow(i) % alphabet.len()];
            let text: String = (0..6).map(digit).collect();
            let letters = letters(&text);
            for width in 2..5 {
                let lines = wrap_text(&letters, width);
                for line in &lines {
                    let columns: usize = line.iter().map(StyledLetter::width).sum();
                    assert!(columns <= width, "{text:?} in {width}");
                }
                let words = |letters: &[StyledLetter<()>]| -> String {
                    let letters = letters.iter().map(|l| l.letter);
                    letters.filter(|l| !l.is_whitespace()).collect()
                };
                assert_eq!(words(&lines.concat()), words(&letters), "{text:?}");
            }
        }
    }
}
