/// Cuts a long text into pieces that a byte-level BPE encodes exactly as it encodes the whole.
///
/// A cut goes before a space or a line feed that follows something else than white space. GPT-2's pattern
/// never spans such a point and looks behind nowhere, so the words on both sides stay the same. Pieces have
/// at least `min_bytes` bytes, the last one excepted; text without such points stays in one piece.
///
/// With a `min_bytes` of 1, pieces are words with the white space before them; larger ones let all cores work on
/// one text.
pub(crate) fn text_pieces(text: &str, min_bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, remainder) = rest.split_at(piece_end(rest, min_bytes.max(1)));
        rest = remainder;
        Some(piece)
    })
}

fn piece_end(text: &str, min_bytes: usize) -> usize {
    (min_bytes..text.len())
        .find(|&index| {
            matches!(text.as_bytes()[index], b' ' | b'\n')
                && text[..index]
                    .chars()
                    .next_back()
                    .is_some_and(|previous| !previous.is_whitespace())
        })
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_are_before_the_first_white_space_of_a_run() {
        let pieces: Vec<_> = text_pieces("ab  cd\n\nef gh", 1).collect();
        assert_eq!(pieces, ["ab", "  cd", "\n\nef", " gh"]);
        assert_eq!(text_pieces("", 8).count(), 0);
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_text(text in "(\\PC|\\s){0,60}", min_bytes in 0_usize..20) {
            let pieces: Vec<_> = text_pieces(&text, min_bytes).collect();
            prop_assert_eq!(pieces.concat(), text.as_str());
            prop_assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() >= min_bytes));
        }
    }
}
