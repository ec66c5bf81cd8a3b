use std::path::{Path, PathBuf};

use pgm_data::Tokenizer;
use sha2::{Digest, Sha256};

use super::likelihood::Continuation;
use super::question::{Choice, FORMS, Question, QuestionKind};
use crate::EvalError;
use crate::generative::hex;

/// Questions from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionFile {
    path: PathBuf,
    questions: Vec<Question>,
    fingerprint: String,
}

impl QuestionFile {
    /// Reads a `.jsonl` file with a question in each line, all of one kind; empty lines are left out.
    ///
    /// # Errors
    /// When the file cannot be read, a line has an unknown form, or there is no question.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let failed = |reason: String| failed(path, reason);
        let content = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let mut questions: Vec<Question> = Vec::new();
        for (number, line) in content.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let question = Question::parse(number + 1, line).map_err(|reason| {
                failed(format!(
                    "line {} is no question: {reason}; {FORMS}",
                    number + 1
                ))
            })?;
            if questions
                .first()
                .is_some_and(|first| first.kind() != question.kind())
            {
                return Err(failed(format!(
                    "line {} asks for {}, line {} for {}; put them into two files",
                    question.line,
                    question.kind().name(),
                    questions[0].line,
                    questions[0].kind().name(),
                )));
            }
            questions.push(question);
        }
        match questions.is_empty() {
            true => Err(failed(format!("it holds no question; {FORMS}"))),
            false => Ok(Self {
                path: path.to_path_buf(),
                questions,
                fingerprint: hex(&Sha256::digest(content)),
            }),
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

    /// Tokens of a choice behind BOS and its context, of which the end is kept if all is longer than `max_length`.
    ///
    /// Context and answer are tokenised together where the context keeps its tokens so, else apart.
    pub(super) fn continuation(
        &self,
        question: &Question,
        choice: &Choice,
        number: u64,
        tokenizer: &Tokenizer,
        max_length: usize,
    ) -> Result<Continuation, EvalError> {
        let context = tokenizer.encode(&choice.context)?;
        let together = tokenizer.encode(&format!("{}{}", choice.context, choice.text))?;
        let answer = match together.strip_prefix(&context[..]) {
            Some(answer) => answer.to_vec(),
            None => tokenizer.encode(&choice.text)?,
        };
        if answer.len() >= max_length {
            return Err(failed(
                &self.path,
                format!(
                    "an answer of line {} has {} tokens, with BOS the model reads {max_length}; shorten it or raise \
                     --max-length",
                    question.line,
                    answer.len()
                ),
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
    }

    #[test]
    fn contexts_lose_their_beginning_and_answers_nothing() {
        let text = include_str!("question_file.rs").to_owned();
        let tokenizer = Tokenizer::train_bpe([text].into_iter(), 300).unwrap();
        let file = read("{\"text\": \"questions of the tokenizer\"}").unwrap();
        let question = &file.questions()[0];
        let with = |max_length| {
            file.continuation(question, &question.choices[0], 4, &tokenizer, max_length)
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
        let error = with(n_answer).unwrap_err().to_string();
        assert!(error.contains("an answer of line 1 has"), "{error}");
    }
}
