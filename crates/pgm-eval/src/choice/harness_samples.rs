//! Lines that lm-evaluation-harness writes with `--log_samples`.

use serde_json::{Map, Value};

use super::question::{Choice, Choices, right_answers};

/// The choices of a line, and which of them are right.
///
/// # Reference
/// `lm_eval/__main__.py` of v0.4.0, `lm_eval/loggers/evaluation_tracker.py` of v0.4.3 and v0.4.13.dev0.
pub(super) fn read(arguments: &Value, fields: &Map<String, Value>) -> Result<Choices, String> {
    let mut choices: Vec<Choice> = pairs(arguments)
        .ok_or(
            "`arguments` are no pairs of context and answer; its task is not one of likelihoods",
        )?
        .into_iter()
        .map(|(context, answer)| Choice::new(context, answer))
        .collect::<Result<_, _>>()?;
    if choices.len() == 1 {
        return Ok((choices, vec![0]));
    }
    without_unconditional(&mut choices);
    if let Some(right) = labelled(fields.get("doc"), &choices)? {
        return Ok((choices, right));
    }
    if let Some(share) = share(fields.get("acc")) {
        return Err(format!(
            "its `acc` is {share}, a share: several answers are right, and its `doc` does not say which as TruthfulQA's \
             `mc2_targets` do; such tasks are not evaluated"
        ));
    }
    let right = targets(fields.get("target"), &choices)?;
    Ok((choices, right))
}

/// Pairs of context and answer: a list up to version 0.4.2 of the harness, by name from 0.4.3 on.
fn pairs(arguments: &Value) -> Option<Vec<(String, String)>> {
    let pairs: Vec<(&Value, &Value)> = match arguments {
        Value::Array(requests) => requests
            .iter()
            .map(|request| match request.as_array()?.as_slice() {
                [context, answer] => Some((context, answer)),
                _ => None,
            })
            .collect::<Option<_>>()?,
        Value::Object(requests) => (0..requests.len())
            .map(|i| {
                let request = requests.get(&format!("gen_args_{i}"))?.as_object()?;
                match request.len() {
                    2 => Some((request.get("arg_0")?, request.get("arg_1")?)),
                    _ => None,
                }
            })
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let texts = pairs.into_iter().map(|(context, answer)| {
        let (context, answer) = (context.as_str()?, answer.as_str()?);
        Some((context.to_owned(), answer.to_owned()))
    });
    let texts: Vec<_> = texts.collect::<Option<_>>()?;
    (!texts.is_empty()).then_some(texts)
}

/// The right answers of TruthfulQA's mc2, whose `target` names the first one alone: those that the document labels 1,
/// if the choices are those of its labels. The document of mc1 has these labels, too, but other choices.
fn labelled(doc: Option<&Value>, choices: &[Choice]) -> Result<Option<Vec<usize>>, String> {
    let Some((doc, targets)) = doc.and_then(|doc| Some((doc, doc.get("mc2_targets")?))) else {
        return Ok(None);
    };
    let list = |of: &Value, key: &str| of.get(key).and_then(Value::as_array).cloned();
    // The second form is that of the translations in `okapi`.
    let texts = list(targets, "choices").or_else(|| list(doc, "mc2_choices"));
    let (Some(texts), Some(labels)) = (texts, list(targets, "labels")) else {
        return Ok(None);
    };
    let is_of_labels = texts.len() == choices.len()
        && texts.iter().zip(choices).all(|(text, choice)| {
            text.as_str()
                .is_some_and(|text| text.trim() == choice.text.trim())
        });
    if !is_of_labels {
        return Ok(None);
    }
    let is_right = |label: &Value| label.as_u64() == Some(1);
    let right: Vec<usize> = (0..labels.len())
        .filter(|&i| is_right(&labels[i]))
        .collect();
    if labels.len() == choices.len() && !right.is_empty() {
        Ok(Some(right))
    } else {
        Err(format!(
            "`mc2_targets` label {} of {} answers as right, with {} labels",
            right.len(),
            choices.len(),
            labels.len()
        ))
    }
}

/// A score that is neither right nor wrong.
fn share(acc: Option<&Value>) -> Option<f64> {
    let acc = match acc? {
        Value::String(text) => text.parse().ok()?,
        other => other.as_f64()?,
    };
    (acc > 0.0 && acc < 1.0).then_some(acc)
}

/// `target` as the number of an answer, a list of them, or the text of one; numbers are texts from v0.4.4 on.
fn targets(target: Option<&Value>, choices: &[Choice]) -> Result<Vec<usize>, String> {
    let n_choices = choices.len();
    let target = target.unwrap_or(&Value::Null);
    let text = match target {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let written = serde_json::from_str(&text).ok();
    let by_number = written.and_then(|value| right_answers(&value, n_choices));
    let mut by_text = (0..n_choices).filter(|&i| choices[i].text.trim() == text);
    match (by_number, by_text.next(), by_text.next()) {
        (Some(right), _, _) => Ok(right),
        (None, Some(right), None) => Ok(vec![right]),
        _ => Err(format!(
            "`target` is `{text}`, neither numbers below {n_choices} nor the text of one answer"
        )),
    }
}

/// Drops the answers without a context that a task with `acc_mutual_info` asks for behind those with one.
fn without_unconditional(choices: &mut Vec<Choice>) {
    let (asked, again) = choices.split_at(choices.len() / 2);
    let is_again = asked.len() == again.len()
        && asked.len() > 1
        && asked.iter().zip(again).all(|(a, b)| {
            !a.context.is_empty() && b.context.is_empty() && a.text.trim() == b.text.trim()
        });
    if is_again {
        choices.truncate(choices.len() / 2);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Question, QuestionKind};

    fn try_parse(text: &str) -> Result<Question, String> {
        Question::parse(3, serde_json::from_str(text).unwrap())
    }

    fn parse(text: &str) -> Question {
        try_parse(text).unwrap()
    }

    fn texts(question: &Question) -> Vec<(&str, &str)> {
        let choices = question.choices.iter();
        choices.map(|c| (&c.context[..], &c.text[..])).collect()
    }

    #[test]
    fn samples_are_read() {
        let list = r#"{"doc": {}, "target": 1, "arguments": [["Q:", " a"], ["Q:", " b"]]}"#;
        let named = r#"{"doc": {}, "target": "1", "arguments": {
            "gen_args_0": {"arg_0": "Q:", "arg_1": " a"}, "gen_args_1": {"arg_0": "Q:", "arg_1": " b"}}}"#;
        let by_text = r#"{"target": "b", "arguments": [["Q:", " a"], ["Q:", " b"]]}"#;
        for text in [list, named, by_text] {
            let question = parse(text);
            assert_eq!(texts(&question), [("Q:", " a"), ("Q:", " b")]);
            assert_eq!(question.right, [1]);
        }
        // More than ten are in the order of their numbers.
        let many: Vec<String> = (0..12)
            .map(|i| format!(r#""gen_args_{i}": {{"arg_0": "Q", "arg_1": " {i}x"}}"#))
            .collect();
        let question = parse(&format!(
            r#"{{"target": "11", "arguments": {{{}}}}}"#,
            many.join(",")
        ));
        assert_eq!(question.choices[question.right[0]].text, " 11x");
        // Asked again without a context, for `acc_mutual_info`.
        let mutual =
            r#"{"target": "1", "arguments": [["Q:", " a"], ["Q:", " b"], ["", " a"], ["", " b"]]}"#;
        assert_eq!(texts(&parse(mutual)), [("Q:", " a"), ("Q:", " b")]);
        let lambada = parse(r#"{"target": " signs", "arguments": [["she saw", " signs"]]}"#);
        assert_eq!(lambada.kind(), QuestionKind::LastWord);
    }

    /// A line of TruthfulQA with some choices and targets; the document is that of mc1 and mc2.
    fn truthful(choices: &[&str], target: &str) -> String {
        let arguments: Vec<[String; 2]> = choices
            .iter()
            .map(|choice| ["Q: Can pigs fly?\nA:".to_owned(), format!(" {choice}")])
            .collect();
        let doc = serde_json::json!({
            "question": "Can pigs fly?",
            "mc1_targets": {"choices": ["No.", "Yes.", "At night."], "labels": [1, 0, 0]},
            "mc2_targets": {"choices": ["No.", "They cannot.", "Yes.", "At night."], "labels": [1, 1, 0, 0]},
        });
        serde_json::json!({"doc": doc, "target": target, "arguments": arguments, "acc": 0.37})
            .to_string()
    }

    #[test]
    fn all_right_answers_of_mc2_are_known() {
        let line = truthful(&["No.", "They cannot.", "Yes.", "At night."], "0");
        assert_eq!(parse(&line).right, [0, 1]);
        // Right answers need not stand first.
        let turned = line.replace("[1,1,0,0]", "[0,1,0,1]");
        assert_eq!(parse(&turned).right, [1, 3]);
        // As the translations have it.
        let okapi = r#"{"doc": {"mc2_choices": ["a", "b", "c"], "mc2_targets": {"labels": [1, 0, 1]}}, "target": "0",
            "arguments": [["Q", " a"], ["Q", " b"], ["Q", " c"]], "acc": 0.2}"#;
        assert_eq!(parse(okapi).right, [0, 2]);
        // The document of mc1 has the labels of mc2, too.
        let mc1 = truthful(&["No.", "Yes.", "At night."], "0").replace("0.37", "1.0");
        assert_eq!(parse(&mc1).right, [0]);
        let none = line.replace("[1,1,0,0]", "[0,0,0,0]");
        let error = try_parse(&none).unwrap_err();
        assert!(error.contains("label 0 of 4 answers as right"), "{error}");
    }

    #[test]
    fn several_targets_are_read() {
        for target in ["[0, 2]", "\"[2, 0]\""] {
            let line = format!(
                r#"{{"target": {target}, "arguments": [["Q", " a"], ["Q", " b"], ["Q", " c"]]}}"#
            );
            assert_eq!(parse(&line).right, [0, 2], "{target}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for (text, words) in [
            (
                r#"{"target": "x", "arguments": [["Q:", {"until": []}]]}"#,
                "one of likelihoods",
            ),
            (
                r#"{"target": "c", "arguments": [["Q:", " a"], ["Q:", " b"]]}"#,
                "`target` is `c`",
            ),
            (
                r#"{"target": "a", "arguments": [["Q", " a"], ["P", " a"]]}"#,
                "`target` is `a`",
            ),
            (
                r#"{"arguments": [["Q", " a"], ["P", " b"]]}"#,
                "`target` is `null`",
            ),
            (
                r#"{"target": "[0, 2]", "arguments": [["Q", " a"], ["P", " b"]]}"#,
                "neither numbers below 2",
            ),
            (
                r#"{"target": "0", "acc": 0.25, "arguments": [["Q", " a"], ["Q", " b"]]}"#,
                "its `acc` is 0.25, a share",
            ),
            (
                r#"{"target": "a", "arguments": [["Q", ""]]}"#,
                "an answer is empty",
            ),
            (r#"{"target": "a", "arguments": []}"#, "one of likelihoods"),
        ] {
            let error = try_parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
