use std::borrow::Cow;

use serde::de::DeserializeOwned;

/// What [`from_python_json`] has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonJson<T> {
    /// The value. `NaN`, `Infinity` and `-Infinity` are null.
    pub value: T,
    /// Stands in its texts for what is half of a surrogate pair; the texts do not hold it otherwise.
    stand_in: Option<char>,
}

impl<T> PythonJson<T> {
    /// Whether `text`, taken from the value, had half of a surrogate pair (`\ud83d` alone), which is no character.
    pub fn has_lone_surrogate(&self, text: &str) -> bool {
        self.stand_in
            .is_some_and(|stand_in| text.contains(stand_in))
    }
}

impl<T> PythonJson<Vec<T>> {
    /// Each item of a list, with what is known of the texts in it.
    pub fn into_items(self) -> impl Iterator<Item = PythonJson<T>> {
        let stand_in = self.stand_in;
        let items = self.value.into_iter();
        items.map(move |value| PythonJson { value, stand_in })
    }
}

/// Reads JSON as Python's `json` writes it: with `NaN` and infinities as numbers, and texts with halves of surrogate pairs,
/// of a tweet that was cut, say. Both are refused by the standard, and mostly stand where nobody looks.
///
/// ```
/// let read = pgm_data::from_python_json::<serde_json::Value>(r#"{"text": "a", "title": "\ud83d", "score": NaN}"#)?;
/// assert_eq!(read.value["text"], "a");
/// assert!(read.value["score"].is_null());
/// let title = read.value["title"].as_str().expect("it is a text");
/// assert!(read.has_lone_surrogate(title));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// When it is no JSON otherwise, or not of the form that is wanted.
pub fn from_python_json<T: DeserializeOwned>(
    text: &str,
) -> Result<PythonJson<T>, serde_json::Error> {
    let strict = match serde_json::from_str(text) {
        Ok(value) => {
            return Ok(PythonJson {
                value,
                stand_in: None,
            });
        }
        Err(error) => error,
    };
    let stand_in = stand_in_for(text);
    match standard(text, stand_in) {
        Cow::Borrowed(_) => Err(strict),
        Cow::Owned(standard) => Ok(PythonJson {
            value: serde_json::from_str(&standard)?,
            stand_in: Some(stand_in),
        }),
    }
}

/// The first of Unicode's noncharacters, which no text has, that really is not in this one.
fn stand_in_for(text: &str) -> char {
    let text = text.to_ascii_lowercase();
    let is_free = |stand_in: &char| {
        !text.contains(*stand_in) && !text.contains(&format!("\\u{:x}", u32::from(*stand_in)))
    };
    ('\u{fdd0}'..='\u{fdef}')
        .find(is_free)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The text with what the standard does not have replaced; borrowed where there is nothing of it.
fn standard(text: &str, stand_in: char) -> Cow<'_, str> {
    let mut written = String::new();
    let mut n_copied = 0;
    let mut replace = |range: std::ops::Range<usize>, by: &str| {
        written.push_str(&text[n_copied..range.start]);
        written.push_str(by);
        n_copied = range.end;
    };
    let stand_in = stand_in.to_string();
    let bytes = text.as_bytes();
    let (mut at, mut is_in_string) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let mut n_bytes = 1;
        if byte == b'"' {
            is_in_string = !is_in_string;
        } else if !is_in_string {
            let number = [b"NaN".as_slice(), b"Infinity", b"-Infinity"];
            if let Some(number) = number.into_iter().find(|number| rest.starts_with(number)) {
                n_bytes = number.len();
                replace(at..at + n_bytes, "null");
            }
        } else if byte == b'\\' {
            n_bytes = match (
                escaped_unit(rest),
                escaped_unit(rest.get(6..).unwrap_or(&[])),
            ) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
                (Some(0xd800..=0xdfff), _) => {
                    replace(at..at + 6, &stand_in);
                    6
                }
                _ => 2,
            };
        }
        at += n_bytes;
    }
    if n_copied == 0 {
        return Cow::Borrowed(text);
    }
    written.push_str(&text[n_copied..]);
    Cow::Owned(written)
}

/// The UTF-16 unit that a text begins with as `\uXXXX`.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> PythonJson<Value> {
        from_python_json(text).unwrap()
    }

    #[test]
    fn numbers_that_are_none_are_null_and_texts_about_them_stay() {
        let text =
            r#"{"a": NaN, "b": [Infinity, -Infinity,NaN], "c": "NaN \" -Infinity", "NaN": 1}"#;
        let wanted = json!({"a": null, "b": [null, null, null], "c": "NaN \" -Infinity", "NaN": 1});
        assert_eq!(read(text).value, wanted);
        assert_eq!(read("NaN").value, Value::Null);
        let error = from_python_json::<Value>("{\"a\": NaN, \"b\": }").unwrap_err();
        assert!(error.is_syntax());
        for text in ["nan", "{\"a\": NaNs}", "{\"a\": --Infinity}", "{\"a\": Na"] {
            assert!(from_python_json::<Value>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn halves_of_pairs_are_found_in_the_text_that_has_them() {
        let line = read(
            r#"{"a": "x\ud83d y", "b": "\ud83d\udc33", "c": "\udc33", "d": "\\ud83d", "e": "\ud83d\\udc33"}"#,
        );
        let has = |key: &str| line.has_lone_surrogate(line.value[key].as_str().unwrap());
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(has),
            [true, false, true, false, true]
        );
        assert_eq!(line.value["b"], "🐳");
        assert_eq!(line.value["d"], "\\ud83d");
        // The stand-in is a character that the text does not have, spelled out or escaped.
        let line = read(
            "{\"a\": \"\u{fdd0}\", \"b\": \"\\uFDD1\", \"c\": \"\\uD83D\", \"d\": \"\u{fffd}\"}",
        );
        let has = |key: &str| line.has_lone_surrogate(line.value[key].as_str().unwrap());
        assert_eq!(["a", "b", "c", "d"].map(has), [false, false, true, false]);
    }

    #[test]
    fn what_is_cut_short_is_refused_as_before() {
        for text in [
            "{\"a\": \"\\ud8",
            "{\"a\": \"\\",
            "{\"a\": \"\\ud83d\\u",
            "\"\\ud83d\\u12\u{fc}\"",
        ] {
            assert!(from_python_json::<Value>(text).is_err(), "{text}");
        }
    }
}
