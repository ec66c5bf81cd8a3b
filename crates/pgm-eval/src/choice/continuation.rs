use pgm_data::Tokenizer;

use super::likelihood_kind::LikelihoodKind;
use super::question::{Choice, Question};
use super::question_file::QuestionFile;
use crate::EvalError;

/// Letters of an answer or a context that a message shows.
const SHOWN_CHARS: usize = 40;

/// A context with an answer behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// Names the random stream of its draws.
    pub number: u64,
    /// BOS, context and answer; with [`LikelihoodKind::Published`] EOS, too.
    pub tokens: Vec<u32>,
    /// Tokens in front of the answer, at least BOS.
    pub n_context: usize,
}

impl Continuation {
    /// Tokens behind the context.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len() - self.n_context
    }
}

/// How answers become tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokenisation<'a> {
    pub tokenizer: &'a Tokenizer,
    pub max_length: usize,
    pub likelihood: LikelihoodKind,
}

impl QuestionFile {
    /// The choices of the first `n_questions` questions, each of which has to have tokens, its context too.
    pub(super) fn continuations(
        &self,
        n_questions: usize,
        tokenisation: Tokenisation,
    ) -> Result<Vec<Vec<Continuation>>, EvalError> {
        // A choice's stream is named by its place among all choices of the file.
        let mut number = 0;
        let questions = self.questions()[..n_questions].iter().map(|question| {
            let choices = question.choices.iter().map(|choice| {
                number += 1;
                self.continuation(question, choice, number - 1, tokenisation)
            });
            let continuations: Vec<Continuation> = choices.collect::<Result<_, _>>()?;
            if let Some((a, b)) = told_apart_by_their_texts_alone(question, &continuations) {
                tracing::warn!(
                    place = question.place,
                    "the answers {} and {} have the same tokens, so that the model cannot choose between them",
                    shown(&a.text),
                    shown(&b.text)
                );
            }
            Ok(continuations)
        });
        questions.collect()
    }

    /// Tokens of a choice behind BOS and its context, of which the end is kept if all is longer than `max_length`.
    ///
    /// Context and answer are tokenised together where the context keeps its tokens so, else apart; for
    /// [`LikelihoodKind::Published`] always apart.
    fn continuation(
        &self,
        question: &Question,
        choice: &Choice,
        number: u64,
        tokenisation: Tokenisation,
    ) -> Result<Continuation, EvalError> {
        let Tokenisation {
            tokenizer,
            max_length,
            likelihood,
        } = tokenisation;
        let refused = |reason: &str| Err(self.refused(question, reason));
        let context = tokenizer.encode(&choice.context)?;
        let mut answer = match likelihood {
            LikelihoodKind::Published => tokenizer.encode(&choice.text)?,
            LikelihoodKind::Conditional => {
                let together = tokenizer.encode(&format!("{}{}", choice.context, choice.text))?;
                match together.strip_prefix(&context[..]) {
                    Some(answer) => answer.to_vec(),
                    None => tokenizer.encode(&choice.text)?,
                }
            }
        };
        for (what, text, tokens) in [
            ("answer", &choice.text, &answer),
            ("context", &choice.context, &context),
        ] {
            if tokens.is_empty() && !text.is_empty() {
                return refused(&format!(
                    "the tokenizer makes no token of the {what} {}, so that its likelihood says nothing; leave the question \
                     out, or write it in characters that the tokenizer has",
                    shown(text)
                ));
            }
        }
        if likelihood == LikelihoodKind::Published {
            answer.push(tokenizer.eos_id());
        }
        if answer.len() >= max_length {
            return refused(&format!(
                "the answer {} has {} tokens, with BOS the model reads {max_length}; shorten it or raise --max-length",
                shown(&choice.text),
                answer.len()
            ));
        }
        let n_kept = context.len().min(max_length - 1 - answer.len());
        let context = &context[context.len() - n_kept..];
        Ok(Continuation {
            number,
            tokens: [&[tokenizer.bos_id()], context, &answer].concat(),
            n_context: 1 + n_kept,
        })
    }
}

/// Two choices of different texts and equal tokens, as of a tokenizer that drops or folds characters.
fn told_apart_by_their_texts_alone<'a>(
    question: &'a Question,
    continuations: &[Continuation],
) -> Option<(&'a Choice, &'a Choice)> {
    let with_tokens = || question.choices.iter().zip(continuations);
    with_tokens().enumerate().find_map(|(i, (choice, own))| {
        let same = with_tokens()
            .take(i)
            .find(|(other, others)| others.tokens == own.tokens && *other != choice);
        same.map(|(other, _)| (other, choice))
    })
}

/// A text in a message, white space and what cannot be seen spelled out.
fn shown(text: &str) -> String {
    let mut letters = text.trim().chars();
    let mut beginning = String::new();
    for letter in letters.by_ref().take(SHOWN_CHARS) {
        if letter.is_alphanumeric() || letter.is_ascii_graphic() || letter == ' ' {
            beginning.push(letter);
        } else {
            beginning.extend(letter.escape_unicode());
        }
    }
    let rest = if letters.next().is_some() { "..." } else { "" };
    format!("`{beginning}{rest}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> QuestionFile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.jsonl");
        std::fs::write(&path, content).unwrap();
        QuestionFile::read(&path).unwrap()
    }

    fn learned() -> Tokenizer {
        let text = include_str!("continuation.rs").to_owned();
        Tokenizer::train_bpe([text].into_iter(), 300).unwrap()
    }

    /// A tokenizer of words, in lower case, that drops what it does not know.
    fn dropping() -> Tokenizer {
        let json = serde_json::json!({
            "version": "1.0",
            "added_tokens": [
                {"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                 "normalized": false, "special": true},
                {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
                 "normalized": false, "special": true}
            ],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "model": {
                "type": "BPE",
                "vocab": {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "c": 4},
                "merges": []
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json.to_string()).unwrap();
        Tokenizer::from_file(path).unwrap()
    }

    fn continuations(
        content: &str,
        tokenizer: &Tokenizer,
        max_length: usize,
        likelihood: LikelihoodKind,
    ) -> Result<Vec<Vec<Continuation>>, String> {
        let file = read(content);
        let tokenisation = Tokenisation {
            tokenizer,
            max_length,
            likelihood,
        };
        let n_questions = file.questions().len();
        let all = file.continuations(n_questions, tokenisation);
        all.map_err(|error| error.to_string())
    }

    #[test]
    fn contexts_lose_their_beginning_and_answers_nothing() {
        let tokenizer = learned();
        let with = |max_length| {
            let text = r#"{"text": "questions of the tokenizer"}"#;
            let all = continuations(text, &tokenizer, max_length, LikelihoodKind::Conditional);
            all.map(|mut all| all.remove(0).remove(0))
        };
        let whole = with(100).unwrap();
        let n_answer = tokenizer.encode(" tokenizer").unwrap().len();
        assert_eq!(whole.n_tokens(), n_answer);
        assert_eq!(whole.tokens[0], tokenizer.bos_id());
        let decoded = tokenizer.decode(&whole.tokens[1..]).unwrap();
        assert_eq!(decoded, "questions of the tokenizer");
        let cut = with(n_answer + 3).unwrap();
        assert_eq!((cut.n_context, cut.tokens.len()), (3, n_answer + 3));
        assert_eq!(
            cut.tokens[1..],
            whole.tokens[whole.tokens.len() - n_answer - 2..]
        );
        for max_length in [n_answer, 1, 0] {
            let error = with(max_length).unwrap_err();
            assert!(
                error.contains("questions.jsonl`: line 1: the answer `tokenizer` has"),
                "{error}"
            );
        }
    }

    #[test]
    fn choices_are_numbered_over_the_file_and_may_have_no_context() {
        let text = "{\"context\": \"\", \"choices\": [\"one\", \"two\"], \"answer\": 0}\n\
            {\"context\": \"x\", \"choices\": [\"three\", \"four\"], \"answer\": 0}";
        let all = continuations(text, &learned(), 100, LikelihoodKind::Conditional).unwrap();
        let numbers: Vec<u64> = all.iter().flatten().map(|c| c.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!((all[0][0].n_context, all[1][0].n_context), (1, 2));
    }

    #[test]
    fn the_published_form_has_eos_behind_and_tokens_of_its_own() {
        let tokenizer = learned();
        let text = r#"{"text": "questions of the tokenizer"}"#;
        let published = continuations(text, &tokenizer, 100, LikelihoodKind::Published).unwrap();
        let published = &published[0][0];
        let context = tokenizer.encode("questions of the").unwrap();
        let answer = tokenizer.encode(" tokenizer").unwrap();
        let wanted = [
            &[tokenizer.bos_id()][..],
            &context,
            &answer,
            &[tokenizer.eos_id()],
        ];
        assert_eq!(published.tokens, wanted.concat());
        assert_eq!(published.n_tokens(), answer.len() + 1);
        let full = answer.len() + 1;
        let error = continuations(text, &tokenizer, full, LikelihoodKind::Published).unwrap_err();
        assert!(error.contains("with BOS the model reads"), "{error}");
    }

    #[test]
    fn what_has_no_token_is_refused_with_its_line() {
        let tokenizer = dropping();
        for likelihood in [LikelihoodKind::Conditional, LikelihoodKind::Published] {
            for (text, words) in [
                (
                    "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": 0}\n\n\
                     {\"context\": \"a\", \"choices\": [\"b\", \"\u{fffd}\"], \"answer\": 0}",
                    "questions.jsonl`: line 3: the tokenizer makes no token of the answer `\\u{fffd}`",
                ),
                (
                    "{\"context\": \"a\", \"target\": \"\u{200b}\u{ad}\"}",
                    "line 1: the tokenizer makes no token of the answer `\\u{200b}\\u{ad}`",
                ),
                ("{\"text\": \"a b ?\"}", "no token of the answer `?`"),
                (
                    "[{\"target\": 1, \"arguments\": [[\"a\", \" xyz\"], [\"a\", \" b\"]]}]",
                    "entry 1: the tokenizer makes no token of the answer `xyz`",
                ),
                (
                    "{\"context\": \"xyz\", \"choices\": [\"b\", \"c\"], \"answer\": 0}",
                    "no token of the context `xyz`",
                ),
            ] {
                let error = continuations(text, &tokenizer, 20, likelihood).unwrap_err();
                assert!(error.contains(words), "{text}: {error}");
            }
        }
    }

    #[test]
    fn answers_of_equal_tokens_are_found() {
        let tokenizer = dropping();
        for (text, is_found) in [
            (
                r#"{"context": "a", "choices": ["b", "c", "B"], "answer": 0}"#,
                true,
            ),
            (
                r#"{"context": "a", "choices": ["b", "bx"], "answer": 0}"#,
                true,
            ),
            // The same text twice is the file's own.
            (
                r#"{"context": "a", "choices": ["b", "c", "b"], "answer": 0}"#,
                false,
            ),
            (
                r#"{"context": "a", "choices": ["b", "c"], "answer": 0}"#,
                false,
            ),
        ] {
            let all = continuations(text, &tokenizer, 20, LikelihoodKind::Conditional).unwrap();
            let file = read(text);
            let found = told_apart_by_their_texts_alone(&file.questions()[0], &all[0]);
            assert_eq!(found.is_some(), is_found, "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut_in_messages() {
        assert_eq!(shown(" a\u{ad}\n"), "`a\\u{ad}`");
        let shown = shown(&"ab".repeat(40));
        assert_eq!(shown.len(), 40 + "...".len() + 2);
    }
}
