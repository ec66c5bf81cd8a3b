//! Documents of text files, compressed or not.

mod bad_lines;
mod corpus;
mod detokenizer;
mod document_split;
mod documents;
mod file_content;
mod gzip_reader;
mod json_lines;
mod python_json;
mod text_file;
mod text_format;
mod text_reader;
mod zstd_reader;

pub use bad_lines::BadLines;
pub(crate) use bad_lines::SkippedLines;
pub use corpus::Corpus;
pub use detokenizer::Detokenizer;
pub use document_split::DocumentSplit;
pub use file_content::FileContent;
pub use python_json::{PythonJson, from_python_json};
pub use text_file::{read_json_text, read_text};
