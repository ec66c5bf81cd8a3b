use std::fs;
use std::path::{Path, PathBuf};

use super::documents::Documents;
use super::text_format::{TextFormat, TextKind};
use crate::{BadLines, DataError, DocumentSplit};

/// Text files and the way they are cut into documents, in an order that depends on nothing but the paths.
///
/// `.txt` files are cut by a [`DocumentSplit`]; each line of a `.jsonl` file is a JSON object with one document
/// in a field. Both may be compressed: `.gz` (one or more members) or `.zst` (one or more frames).
#[derive(Debug, Clone)]
pub struct Corpus {
    files: Vec<PathBuf>,
    passed_over: Vec<PathBuf>,
    split: DocumentSplit,
    text_field: String,
    bad_lines: BadLines,
}

impl Corpus {
    /// The field of a `.jsonl` line that holds the text, unless another is named.
    pub const TEXT_FIELD: &str = "text";

    /// Finds the text files of `inputs`: files as given, folders with everything below them.
    ///
    /// Inputs keep their order, the files of a folder are sorted by path. In folders, files of other kinds,
    /// hidden files and links to folders are passed over; see [`passed_over`](Self::passed_over). A file that is
    /// reached twice counts once.
    ///
    /// # Errors
    /// When a path is missing, a file given by name has another ending, or there is no file at all.
    pub fn open(inputs: &[PathBuf], split: DocumentSplit) -> Result<Self, DataError> {
        split.validate()?;
        let mut files = Vec::new();
        let mut passed_over = Vec::new();
        for input in inputs {
            let kind = fs::metadata(input).map_err(DataError::io("read", input))?;
            if kind.is_dir() {
                let mut found = Vec::new();
                find_files(input, &mut found, &mut passed_over)?;
                found.sort();
                files.append(&mut found);
            } else if TextFormat::from_path(input).is_some() {
                files.push(input.clone());
            } else {
                return Err(DataError::UnsupportedFormat {
                    path: input.clone(),
                    wanted: TextFormat::ENDINGS,
                });
            }
        }
        let mut seen = std::collections::HashSet::new();
        files.retain(|file| {
            let is_new = seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone()));
            if !is_new {
                tracing::warn!(path = %file.display(), "a text file is given twice and read once");
            }
            is_new
        });
        if files.is_empty() {
            return Err(Self::empty(inputs));
        }
        passed_over.sort();
        warn_of_passed_over(&passed_over);
        Ok(Self {
            files,
            passed_over,
            split,
            text_field: Self::TEXT_FIELD.to_owned(),
            bad_lines: BadLines::default(),
        })
    }

    /// Reads the text of `.jsonl` lines from another field.
    pub fn with_text_field(self, text_field: impl Into<String>) -> Self {
        Self {
            text_field: text_field.into(),
            ..self
        }
    }

    /// Leaves lines of `.jsonl` files out that are no documents, or refuses them.
    pub fn with_bad_lines(self, bad_lines: BadLines) -> Self {
        Self { bad_lines, ..self }
    }

    /// What lies in the folders and is not read, by path: files of other kinds, and links to folders. Hidden files and
    /// those that describe a folder (`README...`, `LICENSE...`) do not count.
    pub fn passed_over(&self) -> &[PathBuf] {
        &self.passed_over
    }

    /// The files, in reading order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The way files are cut into documents.
    pub fn split(&self) -> &DocumentSplit {
        &self.split
    }

    /// The field of a `.jsonl` line that holds the text.
    pub fn text_field(&self) -> &str {
        &self.text_field
    }

    /// Which of the files are `.jsonl`, by their place in [`files`](Self::files).
    pub(crate) fn json_lines(&self) -> Vec<usize> {
        let is_json = |file: &Path| {
            TextFormat::from_path(file).is_some_and(|format| format.kind == TextKind::JsonLines)
        };
        let files = self.files.iter().enumerate();
        files
            .filter_map(|(index, file)| is_json(file).then_some(index))
            .collect()
    }

    /// Every document, in order; memory holds one at a time.
    ///
    /// # Errors
    /// An item is an error when its file cannot be read, is a damaged archive, is not UTF-8 or has a line that is
    /// no JSON object with a text.
    pub fn documents(&self) -> impl Iterator<Item = Result<String, DataError>> + Send + '_ {
        (0..self.files.len()).flat_map(|index| self.documents_of(index))
    }

    /// The documents of file `index`.
    pub(crate) fn documents_of(
        &self,
        index: usize,
    ) -> impl Iterator<Item = Result<String, DataError>> + Send + use<> {
        let (documents, error) = match self.open_file(index) {
            Ok(documents) => (Some(documents), None),
            Err(error) => (None, Some(Err(error))),
        };
        documents.into_iter().flatten().chain(error)
    }

    /// The documents of file `index`, with a count of lines that are left out.
    pub(crate) fn open_file(&self, index: usize) -> Result<Documents, DataError> {
        let file = &self.files[index];
        let format = TextFormat::from_path(file).expect("files of other kinds are not taken in");
        Documents::open(file, format, &self.split, &self.text_field, self.bad_lines)
    }

    /// The error for inputs without any text.
    pub(crate) fn empty(inputs: &[PathBuf]) -> DataError {
        let names: Vec<_> = inputs
            .iter()
            .map(|input| format!("`{}`", input.display()))
            .collect();
        DataError::EmptyCorpus {
            inputs: if names.is_empty() {
                "an empty list of inputs".to_owned()
            } else {
                names.join(", ")
            },
            wanted: TextFormat::ENDINGS,
        }
    }
}

/// How names of files begin that describe a folder, in small letters.
const DESCRIPTIONS: [&str; 3] = ["readme", "license", "licence"];

/// Files that a warning names; the others are counted.
const N_NAMED: usize = 5;

fn warn_of_passed_over(files: &[PathBuf]) {
    if files.is_empty() {
        return;
    }
    let names = files.iter().take(N_NAMED);
    let names: Vec<String> = names.map(|file| format!("`{}`", file.display())).collect();
    tracing::warn!(
        n_files = files.len(),
        "in folders, only files whose names end in {} are read; passed over: {}{}",
        TextFormat::ENDINGS,
        names.join(", "),
        if files.len() > N_NAMED { ", ..." } else { "" }
    );
}

fn find_files(
    folder: &Path,
    found: &mut Vec<PathBuf>,
    passed_over: &mut Vec<PathBuf>,
) -> Result<(), DataError> {
    for entry in fs::read_dir(folder).map_err(DataError::io("read", folder))? {
        let entry = entry.map_err(DataError::io("read", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(DataError::io("read", &path))?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            find_files(&path, found, passed_over)?;
        } else if TextFormat::from_path(&path).is_some() && path.is_file() {
            found.push(path);
        } else if !DESCRIPTIONS.iter().any(|begin| name.starts_with(begin)) {
            passed_over.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_recursively_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("b/deep")).unwrap();
        for (name, text) in [
            ("c.txt", "c"),
            ("a.txt", "\u{feff}a"),
            ("b/deep/x.txt", "x"),
            ("b/skip.md", "no"),
            ("README.md", "no"),
            ("d.TXT", "d"),
            ("e.JsonL", "{\"text\": \"e\"}"),
            ("b/empty.txt", " \n"),
            (".hidden.txt", "no"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        let inputs = [root.join("c.txt"), root.to_path_buf()];
        let corpus = Corpus::open(&inputs, DocumentSplit::File).unwrap();
        let documents: Vec<_> = corpus.documents().map(Result::unwrap).collect();
        assert_eq!(documents, ["c", "a", "x", "d", "e"]);
        assert_eq!(corpus.files().len(), 6);
        assert_eq!(corpus.passed_over(), [root.join("b/skip.md")]);
    }

    #[test]
    fn wrong_inputs_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        let open = |path: &Path| Corpus::open(&[path.to_path_buf()], DocumentSplit::File);
        assert!(matches!(
            open(&root.join("absent")),
            Err(DataError::MissingPath { .. })
        ));
        assert!(matches!(open(&root), Err(DataError::EmptyCorpus { .. })));
        assert!(matches!(
            Corpus::open(&[], DocumentSplit::File),
            Err(DataError::EmptyCorpus { .. })
        ));
        fs::write(root.join("a.csv"), "a").unwrap();
        assert!(matches!(
            open(&root.join("a.csv")),
            Err(DataError::UnsupportedFormat { .. })
        ));
        fs::write(root.join("a.txt"), b"abc\xff").unwrap();
        let error = open(&root).unwrap().documents().next().unwrap();
        assert!(matches!(
            error,
            Err(DataError::InvalidUtf8 { byte_offset: 3, .. })
        ));
    }
}
