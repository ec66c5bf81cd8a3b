use serde_json::{Map, Value};

use super::harness_samples;

/// A question with its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Line of the file, or entry of its list, from 1.
    pub place: usize,
    /// What can be answered; the word itself for last words.
    pub choices: Vec<Choice>,
    /// The right ones, ascending; at least one.
    pub right: Vec<usize>,
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
     choice being 0, or a list of such numbers, `{\"context\": TEXT, \"target\": TEXT}`, `{\"text\": TEXT}` whose last word is asked for, or a line \
     of a `samples_*.jsonl` of lm-evaluation-harness (--log_samples) with `arguments` and `target`";

impl Question {
    /// Reads one of the forms.
    pub(super) fn parse(place: usize, value: Value) -> Result<Self, String> {
        let Value::Object(fields) = value else {
            return Err("it is no JSON object".to_owned());
        };
        let (choices, right) = if let Some(arguments) = fields.get("arguments") {
            harness_samples::read(arguments, &fields)?
        } else if let Some(choices) = fields.get("choices") {
            own_choices(&fields, choices)?
        } else if fields.contains_key("target") {
            let (context, target) = (string(&fields, "context")?, string(&fields, "target")?);
            (vec![Choice::behind(context, target)?], vec![0])
        } else if fields.contains_key("text") {
            (vec![last_word(string(&fields, "text")?)?], vec![0])
        } else {
            let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
            return Err(format!("it has the fields `{}`", keys.join("`, `")));
        };
        Ok(Self {
            place,
            choices,
            right,
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
        let text = if is_joined {
            answer.to_owned()
        } else {
            format!(" {answer}")
        };
        Self::new(context.to_owned(), text)
    }

    /// White space at the end of the context goes to the answer, as words begin with their space.
    pub(super) fn new(context: String, text: String) -> Result<Self, String> {
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

/// The choices and which of them are right.
pub(super) type Choices = (Vec<Choice>, Vec<usize>);

fn own_choices(fields: &Map<String, Value>, choices: &Value) -> Result<Choices, String> {
    let context = string(fields, "context")?;
    let wrong = || "`choices` are no list of two texts or more".to_owned();
    let texts = choices.as_array().filter(|texts| texts.len() > 1);
    let choices: Vec<Choice> = texts
        .ok_or_else(wrong)?
        .iter()
        .map(|text| Choice::behind(context, text.as_str().ok_or_else(wrong)?))
        .collect::<Result<_, _>>()?;
    match fields
        .get("answer")
        .and_then(|answer| right_answers(answer, choices.len()))
    {
        Some(right) => Ok((choices, right)),
        None => Err(format!(
            "`answer` is neither a number from 0 to {} nor a list of them",
            choices.len() - 1
        )),
    }
}

/// A number below `n_choices`, or a list of them, in ascending order.
pub(super) fn right_answers(answer: &Value, n_choices: usize) -> Option<Vec<usize>> {
    let number = |value: &Value| {
        let number = usize::try_from(value.as_u64()?).ok()?;
        (number < n_choices).then_some(number)
    };
    let mut right: Vec<usize> = match answer {
        Value::Array(numbers) => numbers.iter().map(number).collect::<Option<_>>()?,
        single => vec![number(single)?],
    };
    right.sort_unstable();
    right.dedup();
    (!right.is_empty()).then_some(right)
}

fn last_word(text: &str) -> Result<Choice, String> {
    let text = text.trim();
    match text.rsplit_once(char::is_whitespace) {
        Some((context, word)) => Choice::behind(context.trim_end(), word),
        None => Err("`text` has no word before its last".to_owned()),
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
        assert_eq!((question.place, &question.right[..]), (3, &[1][..]));
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
    fn several_answers_may_be_right() {
        let question =
            parse(r#"{"context": "Q", "choices": ["a", "b", "c"], "answer": [2, 0, 2]}"#);
        assert_eq!(question.right, [0, 2]);
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
                r#"{"context": "a", "choices": ["b", "c"], "answer": []}"#,
                "nor a list",
            ),
            (
                r#"{"context": "a", "choices": ["b", "c"], "answer": [0, 2]}"#,
                "nor a list",
            ),
            (r#"{"context": "a", "target": "  "}"#, "an answer is empty"),
            (r#"{"context": "a", "target": ""}"#, "an answer is empty"),
            (
                "{\"context\": \"a\", \"choices\": [\"b\", \"\u{3000}\"], \"answer\": 0}",
                "an answer is empty",
            ),
            (r#"{"text": " word "}"#, "no word before its last"),
            (r#"{"text": ""}"#, "no word before its last"),
        ] {
            let value = serde_json::from_str(text).unwrap();
            let error = Question::parse(1, value).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
