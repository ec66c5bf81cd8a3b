use serde_json::Value;

use super::text_file::BYTE_ORDER_MARK;
use crate::from_python_json;

/// The text of one line of a `.jsonl` file, or what is wrong with the line.
///
/// A byte order mark in front is that of a file that others were appended to.
pub(crate) fn text_of_line(line: &str, field: &str) -> Result<String, String> {
    let line = line.trim_start_matches(BYTE_ORDER_MARK).trim_end();
    let mut read = from_python_json(line).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or(&reason);
        format!("is not JSON ({reason}, column {})", error.column())
    })?;
    let Value::Object(fields) = &mut read.value else {
        return Err(format!("is {}, wanted an object", kind(&read.value)));
    };
    let Some(found) = fields.remove(field) else {
        let names: Vec<_> = fields.keys().map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() {
            "no fields at all".to_owned()
        } else {
            names.join(", ")
        };
        return Err(format!(
            "has no field `{field}`, it has {names}; choose the field with `text_field`"
        ));
    };
    match found {
        Value::String(text) if read.has_lone_surrogate(&text) => Err(format!(
            "has half of a surrogate pair in its field `{field}` (`\\ud83d` alone, for instance), which is no \
             character; take it out where the file is written"
        )),
        Value::String(text) => Ok(text),
        other => Err(format!(
            "has {} as its field `{field}`, wanted a string",
            kind(&other)
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found_or_the_problem_named() {
        let of = |line| text_of_line(line, "text");
        assert_eq!(of(r#"{"id": 1, "text": "a\u00fc\n"}"#).unwrap(), "aü\n");
        assert_eq!(of("\u{feff}{\"text\": \"a\"}").unwrap(), "a");
        let python = r#"{"text": "a", "score": NaN, "title": "\ud83d", "t": -Infinity}"#;
        assert_eq!(of(python).unwrap(), "a");
        for (line, wanted) in [
            (
                r#"{"text": "a""#,
                "is not JSON (EOF while parsing an object, column 12)",
            ),
            (
                r#"{"text": "cut \ud800"}"#,
                "has half of a surrogate pair in its field `text` (`\\ud83d` alone, for instance), which is no \
                 character; take it out where the file is written",
            ),
            (
                r#"{"text": NaN}"#,
                "has null as its field `text`, wanted a string",
            ),
            (
                "{\"text\": \r\n",
                "is not JSON (EOF while parsing a value, column 8)",
            ),
            ("[1]", "is an array, wanted an object"),
            (
                r#"{"text": null}"#,
                "has null as its field `text`, wanted a string",
            ),
            (
                r#"{"id": 1, "content": "a"}"#,
                "has no field `text`, it has `content`, `id`; choose the field with `text_field`",
            ),
            (
                "{}",
                "has no field `text`, it has no fields at all; choose the field with `text_field`",
            ),
        ] {
            assert_eq!(of(line).unwrap_err(), wanted);
        }
    }
}
