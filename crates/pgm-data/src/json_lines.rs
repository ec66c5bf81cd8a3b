use serde_json::Value;

/// The text of one line of a `.jsonl` file, or what is wrong with the line.
pub(crate) fn text_of_line(line: &str, field: &str) -> Result<String, String> {
    let value = serde_json::from_str(line).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or(&reason);
        format!("is not JSON ({reason}, column {})", error.column())
    })?;
    let Value::Object(mut fields) = value else {
        return Err(format!("is {}, wanted an object", kind(&value)));
    };
    match fields.remove(field) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!(
            "has {} as its field `{field}`, wanted a string",
            kind(&other)
        )),
        None => {
            let names: Vec<_> = fields.keys().map(|name| format!("`{name}`")).collect();
            let names = if names.is_empty() {
                "no fields at all".to_owned()
            } else {
                names.join(", ")
            };
            Err(format!(
                "has no field `{field}`, it has {names}; choose the field with `text_field`"
            ))
        }
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
        for (line, wanted) in [
            (
                r#"{"text": "a""#,
                "is not JSON (EOF while parsing an object, column 12)",
            ),
            (
                r#"{"text": "\ud800"}"#,
                "is not JSON (unexpected end of hex escape, column 17)",
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
