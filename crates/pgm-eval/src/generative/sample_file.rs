use pgm_data::{PythonJson, from_python_json};
use pgm_generation::SAMPLE_SEPARATOR;
use serde_json::{Map, Value};

/// What `pgm sample` prints before a text, around its number.
const HEADING: (&str, &str) = ("--- sample ", " ---");

/// Fields with a text or with a list of texts: ours and that of PGM's own code, of Duo and MDLM, of ReMDM, and others'.
const FIELDS: [&str; 4] = ["text", "generated_seqs", "text_samples", "samples"];

const FORMS: &str = "wanted a list of texts or of objects with `text`, the same one a line, or an object with a list of \
     texts as `text`, `generated_seqs`, `text_samples` or `samples`";

/// A text in a file of samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileSample {
    pub(super) text: String,
    /// The model's own tokens, if they stand beside it.
    pub(super) tokens: Option<Vec<u32>>,
}

/// Finds the samples in the content of a file; `is_json` where its name says that it is JSON.
///
/// What is JSON is read as JSON, whatever the name: its source text is nobody's sample.
pub(super) fn samples_in(content: &str, is_json: bool) -> Result<Vec<FileSample>, String> {
    let whole = from_python_json::<Value>(content);
    let mut samples = Vec::new();
    match whole {
        Ok(json) if is_json || json.value.is_array() || json.value.is_object() => {
            collect_whole(json, &mut samples)?;
        }
        Err(error) if is_json || first_line_is_object(content) => {
            collect_lines(content, &error, &mut samples)?;
        }
        _ => return Ok(plain(content)),
    }
    Ok(samples)
}

fn first_line_is_object(content: &str) -> bool {
    let mut lines = content.lines().filter(|line| !line.trim().is_empty());
    lines
        .next()
        .is_some_and(|line| from_python_json::<Map<String, Value>>(line).is_ok())
}

/// One JSON document.
fn collect_whole(mut json: PythonJson<Value>, samples: &mut Vec<FileSample>) -> Result<(), String> {
    match std::mem::take(&mut json.value) {
        Value::Array(entries) => (1..).zip(entries).try_for_each(|(number, entry)| {
            collect(entry, &json, samples).map_err(|reason| refused("entry", number, &reason))
        }),
        value => collect(value, &json, samples).map_err(|reason| format!("{reason}; {FORMS}")),
    }
}

/// A JSON document a line; `error` is what is wrong with all as one.
fn collect_lines(
    content: &str,
    error: &serde_json::Error,
    samples: &mut Vec<FileSample>,
) -> Result<(), String> {
    let lines = (1..).zip(content.lines());
    let mut lines = lines.filter(|(_, line)| !line.trim().is_empty()).peekable();
    if let Some((_, first)) = lines.peek()
        && from_python_json::<Value>(first).is_err_and(|error| error.is_eof())
        && first.trim_end() != content.trim()
    {
        // One document over several lines.
        return Err(format!("it is no JSON: {error}"));
    }
    lines.try_for_each(|(number, line)| {
        let mut json = from_python_json::<Value>(line).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or(&reason);
            let column = error.column();
            format!(
                "line {number} is no sample: it is no JSON ({reason}, column {column}); {FORMS}"
            )
        })?;
        let value = std::mem::take(&mut json.value);
        collect(value, &json, samples).map_err(|reason| refused("line", number, &reason))
    })
}

fn refused(unit: &str, number: usize, reason: &str) -> String {
    format!("{unit} {number} is no sample: {reason}; {FORMS}")
}

/// Adds the texts of a value; lists may lie in lists, one for each batch.
fn collect(
    value: Value,
    json: &PythonJson<Value>,
    samples: &mut Vec<FileSample>,
) -> Result<(), String> {
    match value {
        Value::String(text) => push(text, None, json, samples),
        Value::Array(values) => {
            let mut values = values.into_iter();
            values.try_for_each(|value| collect(value, json, samples))
        }
        Value::Object(fields) => collect_fields(fields, json, samples),
        Value::Null => Err("it is null".to_owned()),
        Value::Bool(_) | Value::Number(_) => Err(format!("it is `{value}`")),
    }
}

fn collect_fields(
    mut fields: Map<String, Value>,
    json: &PythonJson<Value>,
    samples: &mut Vec<FileSample>,
) -> Result<(), String> {
    let names: Vec<String> = fields.keys().map(|name| format!("`{name}`")).collect();
    let mut found = FIELDS
        .into_iter()
        .filter(|field| fields.contains_key(*field));
    let (field, other) = (found.next(), found.next());
    match (field, other) {
        (Some(field), Some(other)) => Err(format!(
            "it has `{field}` and `{other}`, and either may hold the texts; leave one"
        )),
        (None, _) if names.is_empty() => Err("it has no fields".to_owned()),
        (None, _) => Err(format!("it has the fields {}", names.join(", "))),
        (Some(field), None) => match fields.remove(field) {
            Some(Value::String(text)) => {
                push(text, tokens(fields.remove("tokens"))?, json, samples)
            }
            Some(texts @ Value::Array(_)) => collect(texts, json, samples),
            _ => Err(format!("its `{field}` is neither a text nor a list")),
        },
    }
}

fn push(
    text: String,
    tokens: Option<Vec<u32>>,
    json: &PythonJson<Value>,
    samples: &mut Vec<FileSample>,
) -> Result<(), String> {
    if json.has_lone_surrogate(&text) {
        return Err("its text has half of a surrogate pair, which is no character".to_owned());
    }
    samples.push(FileSample { text, tokens });
    Ok(())
}

fn tokens(value: Option<Value>) -> Result<Option<Vec<u32>>, String> {
    let tokens = value.map(serde_json::from_value).transpose();
    tokens
        .map(Option::flatten)
        .map_err(|_| "its `tokens` are no list of token ids; take them out".to_owned())
}

/// A text a line, or what this program itself writes for people to read.
fn plain(content: &str) -> Vec<FileSample> {
    let sample = |text: &str| FileSample {
        text: text.to_owned(),
        tokens: None,
    };
    if content.contains(SAMPLE_SEPARATOR) {
        return content.split(SAMPLE_SEPARATOR).map(sample).collect();
    }
    let mut lines = content
        .lines()
        .filter(|line| !line.trim().is_empty())
        .peekable();
    if !lines.peek().is_some_and(|line| is_heading(line)) {
        return lines.map(sample).collect();
    }
    let mut texts: Vec<String> = Vec::new();
    for line in content.lines().skip_while(|line| !is_heading(line)) {
        match texts.last_mut() {
            Some(text) if !is_heading(line) => {
                text.push_str(line);
                text.push('\n');
            }
            _ => texts.push(String::new()),
        }
    }
    texts.iter().map(|text| sample(text.trim())).collect()
}

fn is_heading(line: &str) -> bool {
    let number = line.strip_prefix(HEADING.0);
    let number = number.and_then(|rest| rest.strip_suffix(HEADING.1));
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content: &str, is_json: bool) -> Vec<String> {
        let samples = samples_in(content, is_json).unwrap();
        samples.into_iter().map(|sample| sample.text).collect()
    }

    #[test]
    fn the_forms_of_other_programs_are_read_whatever_the_name() {
        let forms = [
            // Duo and MDLM, PGM, ReMDM.
            "{\n    \"generative_ppl\": NaN,\n    \"entropy\": 5.2,\n    \"generated_seqs\": [\n        \"one\",\n        \"two\\nlines\"\n    ]\n}",
            r#"{"text": ["one", "two\nlines"], "np_tokens_b64": "AAAA", "config": {"text": {}}}"#,
            r#"{"gen_ppl": Infinity, "entropies": [NaN, 5.1], "text_samples": ["one", "two\nlines"]}"#,
            r#"{"samples": [{"text": "one", "id": 0}, {"text": "two\nlines", "title": "\ud83d"}]}"#,
            r#"["one", "two\nlines"]"#,
            r#"[["one"], ["two\nlines"]]"#,
            r#"[{"text": "one", "tokens": [1]}, {"text": "two\nlines", "tokens": null}]"#,
            "{\"text\": \"one\", \"score\": NaN}\n\n{\"text\": \"two\\nlines\"}\n",
        ];
        for form in forms {
            for is_json in [true, false] {
                assert_eq!(texts(form, is_json), ["one", "two\nlines"], "{form}");
            }
        }
        let lines = "\"one\"\n[\"two\\nlines\"]\n";
        assert_eq!(texts(lines, true), ["one", "two\nlines"]);
        assert_eq!(texts("{\"text\": \"one\"}", false), ["one"]);
        assert_eq!(texts("\"one\"", true), ["one"]);
    }

    #[test]
    fn texts_that_begin_as_json_are_texts() {
        for text in [
            "[citation needed] a",
            "{\n  return;\n}",
            "\"Yes\" he said",
            "12",
            "\"a\"",
            "null",
        ] {
            assert_eq!(texts(text, false), text.lines().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_the_program_prints_is_cut_where_it_prints_so() {
        let lines = "---\none\n\n two";
        assert_eq!(texts(lines, false), ["---", "one", " two"]);
        assert_eq!(SAMPLE_SEPARATOR.trim(), "-".repeat(72));
        let file = ["one\ntwo", "", "three\n"].join(SAMPLE_SEPARATOR);
        assert_eq!(texts(&file, false), ["one\ntwo", "", "three\n"]);
        let printed =
            "--- sample 1 ---\none\n\ntwo\n\n--- sample 2 ---\n\n\n--- sample 3 ---\nthree\n\n";
        assert_eq!(texts(printed, false), ["one\n\ntwo", "", "three"]);
    }

    #[test]
    fn other_forms_are_refused_with_what_is_there() {
        for (content, is_json, wanted) in [
            (
                "{\"texts\": [\"a\"], \"ppl\": 1}",
                true,
                "it has the fields `ppl`, `texts`; wanted a list",
            ),
            ("{\"texts\": [\"a\"]}", false, "it has the fields `texts`"),
            ("[1]", true, "entry 1 is no sample: it is `1`"),
            (
                "[\"a\", {\"text\": 1}]",
                true,
                "entry 2 is no sample: its `text` is neither",
            ),
            ("[[1, 2], [3, 4]]", false, "entry 1 is no sample: it is `1`"),
            (
                "{\"text\": \"a\"}\n{\"text\": \"b\"\n",
                true,
                "line 2 is no sample: it is no JSON (EOF while parsing an object, column 12)",
            ),
            (
                "{\"text\": \"a\"}\nb\n",
                false,
                "line 2 is no sample: it is no JSON (expected value, column 1)",
            ),
            (
                "[\n  \"a\",\n  b\n]",
                true,
                "it is no JSON: expected value at line 3",
            ),
            ("plain text", true, "line 1 is no sample: it is no JSON"),
            (
                "{\"text\": \"a\", \"samples\": []}",
                true,
                "it has `text` and `samples`",
            ),
            (
                "{\"text\": \"a\", \"tokens\": 3}",
                true,
                "no list of token ids",
            ),
            (
                "[\"a \\ud83d\"]",
                true,
                "entry 1 is no sample: its text has half of a surrogate pair",
            ),
            ("{}", true, "it has no fields"),
        ] {
            let error = samples_in(content, is_json).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
