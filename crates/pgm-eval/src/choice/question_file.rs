use std::path::{Path, PathBuf};

use pgm_data::{PythonJson, from_python_json, read_json_text, sha256_hex};
use serde_json::Value;

use super::question::{FORMS, Question, QuestionKind};
use crate::EvalError;

/// Questions from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionFile {
    path: PathBuf,
    questions: Vec<Question>,
    unit: &'static str,
    fingerprint: String,
}

impl QuestionFile {
    /// Reads a `.jsonl` file with a question in each line, all of one kind; empty lines are left out. A file that is
    /// one JSON list of questions will do, as lm-evaluation-harness wrote it before its version 0.4.3.
    ///
    /// # Errors
    /// When the file cannot be read, a line has an unknown form, or there is no question.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let failed = |reason: String| failed(path, reason);
        let content = read_json_text(path)?;
        let (unit, entries) = if content.trim_start().starts_with('[') {
            ("entry", list(&content).map_err(failed)?)
        } else {
            ("line", lines(&content))
        };
        let mut questions: Vec<Question> = Vec::new();
        for (place, value) in entries {
            let question = value
                .and_then(|json| parse(place, json))
                .map_err(|reason| {
                    failed(format!("{unit} {place} is no question: {reason}; {FORMS}"))
                })?;
            if questions
                .first()
                .is_some_and(|first| first.kind() != question.kind())
            {
                return Err(failed(format!(
                    "{unit} {place} asks for {}, {unit} {} for {}; put them into two files",
                    question.kind().name(),
                    questions[0].place,
                    questions[0].kind().name(),
                )));
            }
            questions.push(question);
        }
        if questions.is_empty() {
            Err(failed(format!("it holds no question; {FORMS}")))
        } else {
            Ok(Self {
                path: path.to_path_buf(),
                questions,
                unit,
                fingerprint: sha256_hex(content),
            })
        }
    }

    /// The questions, at least one.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// What they ask.
    pub fn kind(&self) -> QuestionKind {
        self.questions[0].kind()
    }

    /// SHA-256 of the file in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Why a question cannot be asked.
    pub(super) fn refused(&self, question: &Question, reason: &str) -> EvalError {
        failed(
            &self.path,
            format!("{} {}: {reason}", self.unit, question.place),
        )
    }
}

/// What may be a question, with its place in the file.
type Entry = (usize, Result<PythonJson<Value>, String>);

/// A question whose texts are whole.
fn parse(place: usize, mut json: PythonJson<Value>) -> Result<Question, String> {
    let question = Question::parse(place, std::mem::take(&mut json.value))?;
    let mut choices = question.choices.iter();
    if choices.any(|choice| {
        json.has_lone_surrogate(&choice.context) || json.has_lone_surrogate(&choice.text)
    }) {
        Err("a text of it has half of a surrogate pair, which is no character".to_owned())
    } else {
        Ok(question)
    }
}

fn lines(content: &str) -> Vec<Entry> {
    let lines = (1..).zip(content.lines());
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(place, line)| {
            let value = from_python_json(line).map_err(|error| error.to_string());
            (place, value)
        })
        .collect()
}

fn list(content: &str) -> Result<Vec<Entry>, String> {
    let values: PythonJson<Vec<Value>> = from_python_json(content)
        .map_err(|error| format!("it begins as a JSON list and is none: {error}; {FORMS}"))?;
    Ok((1..).zip(values.into_items().map(Ok)).collect())
}

fn failed(path: &Path, reason: String) -> EvalError {
    EvalError::File {
        path: path.to_path_buf(),
        reason,
    }
}

impl QuestionKind {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::MultipleChoice => "one of several answers",
            Self::LastWord => "a last word",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<QuestionFile, EvalError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.jsonl");
        std::fs::write(&path, content).unwrap();
        QuestionFile::read(&path)
    }

    #[test]
    fn wrong_lines_are_named_with_the_forms() {
        let refused = |content: &str| read(content).unwrap_err().to_string();
        let error = refused("{\"text\": \"one two\"}\n\n{\"txt\": \"one two\"}\n");
        assert!(
            error.contains(
                "questions.jsonl`: line 3 is no question: it has the fields `txt`; wanted `{"
            ),
            "{error}"
        );
        let mixed = "{\"text\": \"one two\"}\n{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": 0}";
        let error = refused(mixed);
        assert!(
            error.contains("line 2 asks for one of several answers, line 1 for a last word"),
            "{error}"
        );
        assert!(refused("\n").contains("it holds no question"));
        assert!(refused("[]").contains("it holds no question"));
        assert!(refused("{\n").contains("line 1 is no question: EOF while parsing"));
        let error = refused("[{\"text\": \"one two\"},\n{\"txt\": 1}]");
        assert!(error.contains("entry 2 is no question"), "{error}");
        let error = refused("[{\"text\": \"one two\"},\n");
        assert!(
            error.contains("begins as a JSON list and is none"),
            "{error}"
        );
    }

    #[test]
    fn questions_of_python_and_of_windows_are_read() {
        let file =
            read("\u{feff}{\"text\": \"one two\", \"id\": NaN, \"from\": \"\\ud83d\"}").unwrap();
        assert_eq!(file.questions()[0].choices[0].text, " two");
        let list = read("[{\"text\": \"one two\", \"id\": Infinity}]").unwrap();
        assert_eq!(list.questions()[0].choices, file.questions()[0].choices);
        let error = read("{\"text\": \"one t\\ud83do\"}")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 1 is no question: a text of it has half"),
            "{error}"
        );
        let error = read("<!DOCTYPE html><title>404</title>")
            .unwrap_err()
            .to_string();
        assert!(error.contains("is a web page"), "{error}");
    }

    /// Samples of a multiple-choice task and of LAMBADA in both forms of lm-evaluation-harness: one list with
    /// requests in lists (v0.4.0 to v0.4.2), and lines with requests by name (from v0.4.3 on), where a target is a text (from
    /// v0.4.4 on).
    #[test]
    fn samples_of_the_harness_are_read_in_both_forms() {
        let arc_list = r#"[
  {
    "doc_id": 0,
    "doc": {
      "id": "Sea_7",
      "question": "What do whales breathe?",
      "choices": {"text": ["air", "water", "sand"], "label": ["A", "B", "C"]},
      "answerKey": "A"
    },
    "target": 0,
    "arguments": [
      ["Question: What do whales breathe?\nAnswer:", " air"],
      ["Question: What do whales breathe?\nAnswer:", " water"],
      ["Question: What do whales breathe?\nAnswer:", " sand"]
    ],
    "resps": [[[-3.25, true]], [[-4.5, false]], [[-9.0, false]]],
    "filtered_resps": [[-3.25, true], [-4.5, false], [-9.0, false]],
    "acc": 1.0,
    "acc_norm": 1.0
  }
]"#;
        let arc_lines = concat!(
            r#"{"doc_id": 0, "doc": {"id": "Sea_7", "question": "What do whales breathe?", "choices": {"text": "#,
            r#"["air", "water", "sand"], "label": ["A", "B", "C"]}, "answerKey": "A"}, "target": "0", "arguments": "#,
            r#"{"gen_args_0": {"arg_0": "Question: What do whales breathe?\nAnswer:", "arg_1": " air"}, "#,
            r#""gen_args_1": {"arg_0": "Question: What do whales breathe?\nAnswer:", "arg_1": " water"}, "#,
            r#""gen_args_2": {"arg_0": "Question: What do whales breathe?\nAnswer:", "arg_1": " sand"}}, "#,
            r#""resps": [[["-3.25", "True"]], [["-4.5", "False"]], [["-9.0", "False"]]], "filtered_resps": "#,
            r#"[["-3.25", "True"], ["-4.5", "False"], ["-9.0", "False"]], "filter": "none", "metrics": "#,
            r#"["acc", "acc_norm"], "doc_hash": "00", "prompt_hash": "01", "target_hash": "02", "acc": 1.0, "#,
            r#""acc_norm": 1.0}"#,
            "\n"
        );
        let arc = read(arc_list).unwrap();
        for file in [&arc, &read(arc_lines).unwrap()] {
            assert_eq!(file.kind(), QuestionKind::MultipleChoice);
            let question = &file.questions()[0];
            assert_eq!((question.place, &question.right[..]), (1, &[0][..]));
            assert_eq!(question.choices, arc.questions()[0].choices);
            assert_eq!(question.choices.len(), 3);
            let context = "Question: What do whales breathe?\nAnswer:";
            assert_eq!(question.choices[1].context, context);
            assert_eq!(question.choices[1].text, " water");
        }
        let lambada_list = r#"[{"doc_id": 0, "doc": {"text": "the crew saw the whale"}, "target": " whale",
            "arguments": [["the crew saw the", " whale"]], "resps": [[[-2.5, false]]],
            "filtered_resps": [[-2.5, false]], "perplexity": -2.5, "acc": false}]"#;
        let lambada_lines = concat!(
            r#"{"doc_id": 0, "doc": {"text": "the crew saw the whale"}, "target": " whale", "arguments": "#,
            r#"{"gen_args_0": {"arg_0": "the crew saw the", "arg_1": " whale"}}, "resps": [[["-2.5", "False"]]], "#,
            r#""filtered_resps": [["-2.5", "False"]], "filter": "none", "metrics": ["perplexity", "acc"], "#,
            r#""doc_hash": "00", "prompt_hash": "01", "target_hash": "02", "perplexity": -2.5, "acc": 0.0}"#
        );
        for content in [lambada_list, lambada_lines] {
            let file = read(content).unwrap();
            assert_eq!(file.kind(), QuestionKind::LastWord);
            let choice = &file.questions()[0].choices[0];
            assert_eq!(
                (&choice.context[..], &choice.text[..]),
                ("the crew saw the", " whale")
            );
        }
    }
}
