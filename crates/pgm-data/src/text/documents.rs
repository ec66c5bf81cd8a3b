use std::path::Path;

use super::bad_lines::SkippedLines;
use super::json_lines::text_of_line;
use super::text_format::{TextFormat, TextKind};
use super::text_reader::TextReader;
use crate::{BadLines, DataError, DocumentSplit};

/// The documents of one file, in order; memory holds one at a time.
///
/// Documents that hold nothing but white space are left out. Nothing follows an error.
pub(crate) struct Documents {
    reader: TextReader,
    cut: Cut,
    skipped: SkippedLines,
    is_done: bool,
}

/// How the file is cut, and what has been read beyond the last document.
enum Cut {
    File,
    BlankLines { n_blank: usize, next_line: String },
    Separator(String),
    JsonLines(JsonLines),
}

/// How lines of JSON are read, and how far.
struct JsonLines {
    field: String,
    bad_lines: BadLines,
    n_lines: u64,
}

impl Documents {
    /// Opens a file; `split` cuts plain text, `text_field` names the text in each line of a `.jsonl` file, and
    /// `bad_lines` says what becomes of lines without one.
    pub(crate) fn open(
        path: &Path,
        format: TextFormat,
        split: &DocumentSplit,
        text_field: &str,
        bad_lines: BadLines,
    ) -> Result<Self, DataError> {
        let cut = match (format.kind, split) {
            (TextKind::JsonLines, _) => Cut::JsonLines(JsonLines {
                field: text_field.to_owned(),
                bad_lines,
                n_lines: 0,
            }),
            (TextKind::Plain, DocumentSplit::File) => Cut::File,
            (TextKind::Plain, DocumentSplit::BlankLines(n_blank)) => Cut::BlankLines {
                n_blank: n_blank.get(),
                next_line: String::new(),
            },
            (TextKind::Plain, DocumentSplit::Separator(separator)) => {
                Cut::Separator(separator.clone())
            }
        };
        Ok(Self {
            reader: TextReader::open(path, format)?,
            cut,
            skipped: SkippedLines::default(),
            is_done: false,
        })
    }

    /// The lines that were left out, when all has been read.
    pub(crate) fn into_skipped(self) -> SkippedLines {
        self.skipped
    }

    /// The next document, empty ones included.
    fn read(&mut self) -> Result<Option<String>, DataError> {
        let reader = &mut self.reader;
        match &mut self.cut {
            Cut::File => reader.read_to_end(),
            Cut::BlankLines { n_blank, next_line } => {
                until_blank_lines(reader, *n_blank, next_line)
            }
            Cut::Separator(separator) => {
                let piece = reader.read_until(separator)?;
                Ok(piece.map(|piece| {
                    let document = piece.strip_suffix(separator.as_str()).unwrap_or(&piece);
                    document.trim_matches(['\n', '\r']).to_owned()
                }))
            }
            Cut::JsonLines(lines) => match lines.read(reader) {
                Err(error) if lines.is_skipped(&error) => {
                    self.skipped.push(error);
                    Ok(Some(String::new()))
                }
                read => read,
            },
        }
    }
}

impl JsonLines {
    /// The text of the next line.
    fn read(&mut self, reader: &mut TextReader) -> Result<Option<String>, DataError> {
        self.n_lines += 1;
        let Some(line) = reader.read_until("\n")? else {
            return Ok(None);
        };
        if line.trim().is_empty() {
            return Ok(Some(String::new()));
        }
        let text = text_of_line(&line, &self.field);
        text.map(Some).map_err(|problem| DataError::JsonLine {
            path: reader.path().to_path_buf(),
            line: self.n_lines,
            problem,
        })
    }

    /// Whether a line with this error is left out, and the next one read.
    fn is_skipped(&self, error: &DataError) -> bool {
        let is_of_line = matches!(
            error,
            DataError::JsonLine { .. } | DataError::InvalidUtf8 { .. }
        );
        is_of_line && self.bad_lines == BadLines::Skip
    }
}

impl Iterator for Documents {
    type Item = Result<String, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            match self.read() {
                Ok(Some(document)) if document.trim().is_empty() => {}
                Ok(Some(document)) => return Some(Ok(document)),
                Ok(None) => self.is_done = true,
                Err(error) => {
                    self.is_done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Reads up to `n_blank` blank lines in a row and the line behind them, which is left in `next_line`.
fn until_blank_lines(
    reader: &mut TextReader,
    n_blank: usize,
    next_line: &mut String,
) -> Result<Option<String>, DataError> {
    let mut document = std::mem::take(next_line);
    let (mut blank_lines, mut blank_run) = (String::new(), 0);
    let mut is_at_end = true;
    while let Some(line) = reader.read_until("\n")? {
        if line.trim().is_empty() {
            blank_run += 1;
            if blank_run < n_blank {
                blank_lines.push_str(&line);
            }
        } else if blank_run >= n_blank {
            *next_line = line;
            is_at_end = false;
            break;
        } else {
            document.push_str(&blank_lines);
            document.push_str(&line);
            blank_lines.clear();
            blank_run = 0;
        }
    }
    document.truncate(document.trim_end_matches(['\n', '\r']).len());
    Ok((!is_at_end || !document.is_empty()).then_some(document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    fn open(name: &str, text: &[u8], split: &DocumentSplit, bad_lines: BadLines) -> Documents {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let format = TextFormat::from_path(&path).unwrap();
        Documents::open(&path, format, split, "text", bad_lines).unwrap()
    }

    fn read(name: &str, text: &str, split: DocumentSplit) -> Result<Vec<String>, DataError> {
        open(name, text.as_bytes(), &split, BadLines::Refuse).collect()
    }

    fn blank_lines(n: usize) -> DocumentSplit {
        DocumentSplit::BlankLines(NonZeroUsize::new(n).unwrap())
    }

    #[test]
    fn blank_lines_part_documents_and_belong_to_none() {
        let text = "one\ntwo\n\nthree\n \n\r\nfour\r\nfive\n\n\n\n";
        assert_eq!(
            read("a.txt", text, blank_lines(1)).unwrap(),
            ["one\ntwo", "three", "four\r\nfive"]
        );
        assert_eq!(
            read("a.txt", text, blank_lines(2)).unwrap(),
            ["one\ntwo\n\nthree", "four\r\nfive"]
        );
        assert_eq!(
            read("a.txt", "\n\none\n\n\n\ntwo", blank_lines(2)).unwrap(),
            ["one", "two"]
        );
        assert_eq!(read("a.txt", "\none", blank_lines(2)).unwrap(), ["\none"]);
    }

    #[test]
    fn files_are_kept_whole_and_empty_ones_dropped() {
        let file = DocumentSplit::File;
        assert_eq!(read("a.txt", "\n a \n", file.clone()).unwrap(), ["\n a \n"]);
        assert!(read("a.txt", " \n\n", file.clone()).unwrap().is_empty());
        assert!(read("a.txt", "", file).unwrap().is_empty());
        assert!(read("a.txt", "", blank_lines(1)).unwrap().is_empty());
    }

    #[test]
    fn a_separator_parts_documents() {
        let split = DocumentSplit::Separator("<|endoftext|>".to_owned());
        let text = "a\n<|endoftext|>\n<|endoftext|> b";
        assert_eq!(read("a.txt", text, split.clone()).unwrap(), ["a", " b"]);
        let ended = "a<|endoftext|>b<|endoftext|>";
        assert_eq!(read("a.txt", ended, split).unwrap(), ["a", "b"]);
    }

    #[test]
    fn lines_of_json_are_documents_and_bad_ones_are_named() {
        let good =
            "{\"text\": \"one\\ntwo\", \"id\": 1}\n\n{\"text\": \" \"}\n{\"text\": \"three\"}";
        assert_eq!(
            read("a.jsonl", good, blank_lines(1)).unwrap(),
            ["one\ntwo", "three"]
        );
        let bad = "{\"text\": \"one\"}\n\n{\"text\": \n";
        let error = read("a.jsonl", bad, DocumentSplit::File).unwrap_err();
        assert!(
            matches!(error, DataError::JsonLine { line: 3, .. }),
            "{error}"
        );
        let message = error.to_string();
        assert!(message.contains("a.jsonl"), "{message}");
    }

    #[test]
    fn bad_lines_are_left_out_and_counted_where_that_is_asked_for() {
        let text =
            b"{\"text\": \"one\"}\n{\"text\": \n[1]\n\n{\"txt\": \"a\"}\n{\"text\": \"\xff\"}\n\
            {\"text\": \"\\ud83d\"}\n{\"text\": \"two\", \"score\": NaN}\n";
        let mut documents = open("a.jsonl", text, &DocumentSplit::File, BadLines::Skip);
        let read: Vec<String> = documents.by_ref().map(Result::unwrap).collect();
        assert_eq!(read, ["one", "two"]);
        let skipped = documents.into_skipped();
        assert_eq!(skipped.n_lines, 5);
        let first: Vec<String> = skipped.first.iter().map(ToString::to_string).collect();
        assert_eq!(first.len(), 3);
        assert!(first[0].starts_with("line 2 of"), "{}", first[0]);
        assert!(first[1].contains("is an array"), "{}", first[1]);
        assert!(first[2].starts_with("line 5 of"), "{}", first[2]);
        // The first one is an error otherwise, and nothing follows.
        let mut documents = open("a.jsonl", text, &DocumentSplit::File, BadLines::Refuse);
        assert!(documents.next().unwrap().is_ok());
        assert!(documents.next().unwrap().is_err());
        assert!(documents.next().is_none());
    }
}
