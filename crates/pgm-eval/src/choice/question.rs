use serde_json::{Map, Value};

/// A question with its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Line of the file, or entry of its list, from 1.
    pub place: usize,
    /// What can be answered; the word itself for last words.
    pub choices: Vec<Choice>,
    /// The right one.
    pub answer: usize,
}

/// An answer with what stands before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The text in front.
    pub context: String,
    /// The answer, with the space that it begins with.
    pub text: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    /// Which of several answers is right.
    MultipleChoice,
    /// How a text ends, as LAMBADA asks.
    LastWord,
}

/// The forms of a line.
pub(super) const FORMS: &str = "wanted `{\"context\": TEXT, \"choices\": [TEXT, ...], \"answer\": NUMBER}` with the first \
     choice being 0, `{\"context\": TEXT, \"target\": TEXT}`, `{\"text\": TEXT}` whose last word is asked for, or a line \
     of a `samples_*.jsonl` of lm-evaluation-harness (--log_samples) with `arguments` and `target`";

impl Question {
    /// Reads one of the forms.
    pub(super) fn parse(place: usize, value: Value) -> Result<Self, String> {
        let Value::Object(fields) = value else {
            return Err("it is no JSON object".to_owned());
        };
        let (choices, answer) = if let Some(arguments) = fields.get("arguments") {
            harness(arguments, fields.get("target"))?
        } else if let Some(choices) = fields.get("choices") {
            own_choices(&fields, choices)?
        } else if fields.contains_key("target") {
            let (context, target) = (string(&fields, "context")?, string(&fields, "target")?);
            (vec![Choice::behind(context, target)?], 0)
        } else if fields.contains_key("text") {
            (vec![last_word(string(&fields, "text")?)?], 0)
        } else {
            let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
            return Err(format!("it has the fields `{}`", keys.join("`, `")));
        };
        Ok(Self {
            place,
            choices,
            answer,
        })
    }

    /// What is asked.
    pub fn kind(&self) -> QuestionKind {
        match self.choices.len() {
            1 => QuestionKind::LastWord,
            _ => QuestionKind::MultipleChoice,
        }
    }
}

impl Choice {
    /// An answer behind a context, with a space between if neither has white space there.
    fn behind(context: &str, answer: &str) -> Result<Self, String> {
        let is_joined = context.is_empty()
            || context.ends_with(char::is_whitespace)
            || answer.starts_with(char::is_whitespace);
        let text = match is_joined {
            true => answer.to_owned(),
            false => format!(" {answer}"),
        };
        Self::new(context.to_owned(), text)
    }

    /// White space at the end of the context goes to the answer, as words begin with their space.
    fn new(context: String, text: String) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("an answer is empty".to_owned());
        }
        let (context, space) = context.split_at(context.trim_end().len());
        Ok(Self {
            text: format!("{space}{text}"),
            context: context.to_owned(),
        })
    }

    /// Bytes of the answer, without white space in front.
    pub fn n_bytes(&self) -> usize {
        self.text.trim_start().len()
    }
}

fn string<'a>(fields: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    let value = fields.get(key).and_then(Value::as_str);
    value.ok_or_else(|| format!("`{key}` is no text"))
}

type Choices = (Vec<Choice>, usize);

fn own_choices(fields: &Map<String, Value>, choices: &Value) -> Result<Choices, String> {
    let context = string(fields, "context")?;
    let wrong = || "`choices` are no list of two texts or more".to_owned();
    let texts = choices.as_array().filter(|texts| texts.len() > 1);
    let choices: Vec<Choice> = texts
        .ok_or_else(wrong)?
        .iter()
        .map(|text| Choice::behind(context, text.as_str().ok_or_else(wrong)?))
        .collect::<Result<_, _>>()?;
    let answer = fields.get("answer").and_then(Value::as_u64);
    let answer = answer.and_then(|answer| usize::try_from(answer).ok());
    match answer.filter(|&answer| answer < choices.len()) {
        Some(answer) => Ok((choices, answer)),
        None => Err(format!(
            "`answer` is no number from 0 to {}",
            choices.len() - 1
        )),
    }
}

fn last_word(text: &str) -> Result<Choice, String> {
    let text = text.trim();
    match text.rsplit_once(char::is_whitespace) {
        Some((context, word)) => Choice::behind(context.trim_end(), word),
        None => Err("`text` has no word before its last".to_owned()),
    }
}

/// Pairs of context and answer: a list up to version 0.4.2 of the harness, by name from 0.4.3 on.
///
/// # Reference
/// `lm_eval/__main__.py` of v0.4.0, `lm_eval/loggers/evaluation_tracker.py` of v0.4.3 and v0.4.13.dev0.
fn harness(arguments: &Value, target: Option<&Value>) -> Result<Choices, String> {
    let pairs: Option<Vec<(&Value, &Value)>> = match arguments {
        Value::Array(requests) => requests
            .iter()
            .map(|request| match request.as_array()?.as_slice() {
                [context, answer] => Some((context, answer)),
                _ => None,
            })
            .collect(),
        Value::Object(requests) => (0..requests.len())
            .map(|i| {
                let request = requests.get(&format!("gen_args_{i}"))?.as_object()?;
                match request.len() {
                    2 => Some((request.get("arg_0")?, request.get("arg_1")?)),
                    _ => None,
                }
            })
            .collect(),
        _ => None,
    };
    let mut choices: Vec<Choice> = pairs
        .filter(|pairs| !pairs.is_empty())
        .and_then(|pairs| {
            let texts = pairs.iter().map(|(context, answer)| {
                let (context, answer) = (context.as_str()?, answer.as_str()?);
                Some((context.to_owned(), answer.to_owned()))
            });
            texts.collect::<Option<Vec<_>>>()
        })
        .ok_or(
            "`arguments` are no pairs of context and answer; its task is not one of likelihoods",
        )?
        .into_iter()
        .map(|(context, answer)| Choice::new(context, answer))
        .collect::<Result<_, _>>()?;
    if choices.len() == 1 {
        return Ok((choices, 0));
    }
    without_unconditional(&mut choices);
    let target = match target {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err("`target` is neither the number of an answer nor its text".to_owned()),
    };
    let by_number = target
        .trim()
        .parse()
        .ok()
        .filter(|&i: &usize| i < choices.len());
    let mut by_text = (0..choices.len()).filter(|&i| choices[i].text.trim() == target.trim());
    match (by_number, by_text.next(), by_text.next()) {
        (Some(answer), _, _) | (None, Some(answer), None) => Ok((choices, answer)),
        _ => Err(format!(
            "`target` is `{target}`, neither a number below {} nor the text of one answer",
            choices.len()
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
    use super::*;

    fn parse(text: &str) -> Question {
        Question::parse(3, serde_json::from_str(text).unwrap()).unwrap()
    }

    fn texts(question: &Question) -> Vec<(&str, &str)> {
        let choices = question.choices.iter();
        choices.map(|c| (&c.context[..], &c.text[..])).collect()
    }

    #[test]
    fn own_forms_are_read() {
        let question =
            parse(r#"{"context": "The sky is", "choices": ["blue", " red "], "answer": 1}"#);
        assert_eq!(
            texts(&question),
            [("The sky is", " blue"), ("The sky is", " red ")]
        );
        assert_eq!((question.place, question.answer), (3, 1));
        assert_eq!(question.kind(), QuestionKind::MultipleChoice);
        assert_eq!(question.choices[0].n_bytes(), 4);
        let question = parse(r#"{"context": "Call me ", "target": "Ishmael", "id": 7}"#);
        assert_eq!(texts(&question), [("Call me", " Ishmael")]);
        assert_eq!(question.kind(), QuestionKind::LastWord);
        let question = parse(r#"{"text": "he saw the whale\n"}"#);
        assert_eq!(texts(&question), [("he saw the", " whale")]);
        let question = parse(r#"{"context": "", "choices": ["a", "b"], "answer": 0}"#);
        assert_eq!(texts(&question), [("", "a"), ("", "b")]);
    }

    #[test]
    fn samples_of_the_harness_are_read() {
        let list = r#"{"doc": {}, "target": 1, "arguments": [["Q:", " a"], ["Q:", " b"]]}"#;
        let named = r#"{"doc": {}, "target": "1", "arguments": {
            "gen_args_0": {"arg_0": "Q:", "arg_1": " a"}, "gen_args_1": {"arg_0": "Q:", "arg_1": " b"}}}"#;
        let by_text = r#"{"target": "b", "arguments": [["Q:", " a"], ["Q:", " b"]]}"#;
        for text in [list, named, by_text] {
            let question = parse(text);
            assert_eq!(texts(&question), [("Q:", " a"), ("Q:", " b")]);
            assert_eq!(question.answer, 1);
        }
        // More than ten are in the order of their numbers.
        let many: Vec<String> = (0..12)
            .map(|i| format!(r#""gen_args_{i}": {{"arg_0": "Q", "arg_1": " {i}x"}}"#))
            .collect();
        let question = parse(&format!(
            r#"{{"target": "11", "arguments": {{{}}}}}"#,
            many.join(",")
        ));
        assert_eq!(question.choices[question.answer].text, " 11x");
        // Asked again without a context, for `acc_mutual_info`.
        let mutual =
            r#"{"target": "1", "arguments": [["Q:", " a"], ["Q:", " b"], ["", " a"], ["", " b"]]}"#;
        assert_eq!(texts(&parse(mutual)), [("Q:", " a"), ("Q:", " b")]);
        let lambada = parse(r#"{"target": " signs", "arguments": [["she saw", " signs"]]}"#);
        assert_eq!(lambada.kind(), QuestionKind::LastWord);
    }

    #[test]
    fn other_forms_are_refused() {
        for (text, words) in [
            ("[1]", "it is no JSON object"),
            (
                r#"{"question": "?", "label": 1}"#,
                "it has the fields `label`, `question`",
            ),
            (
                r#"{"context": "a", "choices": ["b"], "answer": 0}"#,
                "two texts or more",
            ),
            (
                r#"{"context": "a", "choices": ["b", "c"], "answer": 2}"#,
                "from 0 to 1",
            ),
            (
                r#"{"context": "a", "choices": ["b", " "], "answer": 0}"#,
                "an answer is empty",
            ),
            (
                r#"{"choices": ["b", "c"], "answer": 0}"#,
                "`context` is no text",
            ),
            (r#"{"text": "word"}"#, "no word before its last"),
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
        ] {
            let value = serde_json::from_str(text).unwrap();
            let error = Question::parse(1, value).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
