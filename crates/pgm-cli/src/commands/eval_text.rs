use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use pgm_data::{Corpus, Detokenizer, Packing, ShardWriter, TextCoverage, TokenDataset, sha256_hex};
use serde_json::{Value, json};

use super::run_args::{OpenedModel, RunArgs};
use crate::{format, pretrained, text_check};

/// Text to evaluate on instead of a run's held-out text.
#[derive(Debug, Args)]
pub struct TextArgs {
    /// Evaluate on this text instead (zero-shot): `.txt` and `.jsonl` files or folders, in the run's rows
    #[arg(long, value_name = "PATH")]
    text: Vec<PathBuf>,
    /// Undo the tokenisation of a benchmark's text first, as published zero-shot perplexities do
    #[arg(long, value_name = "SET", requires = "text")]
    detokenizer: Option<TextSet>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TextSet {
    /// WikiText-2 and WikiText-103
    Wikitext,
    /// Penn Treebank
    Ptb,
    /// One Billion Words
    Lm1b,
    /// LAMBADA
    Lambada,
    /// AG News: nothing is undone, as published
    AgNews,
    /// PubMed of Scientific Papers
    Pubmed,
    /// arXiv of Scientific Papers
    Arxiv,
    /// The same as `pubmed` and `arxiv`
    ScientificPapers,
}

/// Rows of text to evaluate on, and where they come from.
pub struct EvalText {
    /// The rows.
    pub rows: TokenDataset,
    packing: Packing,
    source: TextSource,
}

enum TextSource {
    HeldOut {
        folder: PathBuf,
    },
    Files {
        files: Vec<TextFile>,
        detokenizer: Option<Detokenizer>,
    },
}

struct TextFile {
    path: PathBuf,
    n_bytes: u64,
    sha256: String,
}

impl TextArgs {
    /// The text that is named, or the held-out text of the run. Tokens of a text that is named go into a file in
    /// `folder`, which exists.
    pub fn open(&self, model: &RunArgs, run: &OpenedModel, folder: &Path) -> Result<EvalText> {
        let packing = run.config.data.packing;
        if !self.text.is_empty() {
            return self.files(run, folder);
        }
        if !model.is_run() {
            let source = model.source();
            let hint = if source == pretrained::NAME {
                " (it was trained on nearly all of the bundled text; pretrained/README.md says on what)"
            } else {
                ""
            };
            bail!(
                "`{source}` comes without held-out text; name text that it was not trained on with --text FILE{hint}"
            );
        }
        Ok(EvalText {
            rows: model.folder().validation_set(&run.config)?,
            packing,
            source: TextSource::HeldOut {
                folder: model.folder().data(&run.config),
            },
        })
    }

    fn files(&self, run: &OpenedModel, folder: &Path) -> Result<EvalText> {
        let data = &run.config.data;
        let corpus =
            Corpus::open(&self.text, data.split.clone())?.with_text_field(&data.text_field);
        let mut files = Vec::new();
        for path in corpus.files() {
            let (n_bytes, sha256) = pgm_data::sha256_of_file(path)?;
            files.push(TextFile {
                path: path.clone(),
                n_bytes,
                sha256,
            });
        }
        let detokenizer = self.detokenizer.and_then(TextSet::detokenizer);
        let tokenizer = &run.model.tokenizer;
        // Other tokens have another name: an evaluation of another text that goes on at the same time has its own file.
        let contents: Vec<_> = files
            .iter()
            .map(|file| (file.n_bytes, &file.sha256))
            .collect();
        let names: Vec<_> = files.iter().map(|file| file.path.extension()).collect();
        let key = format!(
            "{contents:?} {names:?} {detokenizer:?} {} {:?} {}",
            tokenizer.fingerprint(),
            data.split,
            data.text_field
        );
        let digest = sha256_hex(key);
        let mut writer = ShardWriter::create(
            folder.join(format!("zero-shot-{}.tok", &digest[..12])),
            u32::try_from(tokenizer.vocab_size())?,
            tokenizer.fingerprint(),
        )?;
        let mut coverage = TextCoverage::new(tokenizer)?;
        for document in corpus.documents() {
            let document = document?;
            let document = match detokenizer {
                Some(detokenizer) => detokenizer.apply(&document),
                None => document,
            };
            coverage.add(&document)?;
            writer.push_document(&tokenizer.encode(&document)?)?;
        }
        text_check::check_text("the text", &coverage);
        let shard = writer.finish()?;
        Ok(EvalText {
            rows: data.rows(&shard, tokenizer)?,
            packing: data.packing,
            source: TextSource::Files { files, detokenizer },
        })
    }
}

impl TextSet {
    fn detokenizer(self) -> Option<Detokenizer> {
        match self {
            Self::Wikitext => Some(Detokenizer::Wikitext),
            Self::Ptb => Some(Detokenizer::Ptb),
            Self::Lm1b => Some(Detokenizer::Lm1b),
            Self::Lambada => Some(Detokenizer::Lambada),
            Self::AgNews => None,
            Self::Pubmed | Self::Arxiv | Self::ScientificPapers => {
                Some(Detokenizer::ScientificPapers)
            }
        }
    }
}

impl EvalText {
    /// What results depend on, of the text: an object.
    pub fn settings(&self) -> Value {
        let shard = self.rows.shard();
        let mut text = match &self.source {
            TextSource::HeldOut { folder } => json!({
                "source": "held-out",
                "folder": folder.display().to_string(),
            }),
            TextSource::Files { files, detokenizer } => {
                let files = files.iter().map(|file| {
                    json!({
                        "path": file.path.display().to_string(),
                        "n_bytes": file.n_bytes,
                        "sha256": file.sha256,
                    })
                });
                json!({
                    "source": "files",
                    "files": files.collect::<Vec<_>>(),
                    "detokenizer": detokenizer,
                })
            }
        };
        text["tokens_sha256"] = json!(shard.checksum());
        text["n_documents"] = json!(shard.n_documents());
        text["n_tokens"] = json!(shard.n_tokens());
        text["packing"] = json!(self.packing);
        text["seq_len"] = json!(self.rows.seq_len());
        text["overlap"] = json!(0);
        text["n_rows"] = json!(self.rows.n_rows());
        text["n_dropped_tokens"] = json!(self.rows.n_dropped_tokens());
        text
    }

    /// What was read, in words.
    pub fn source_in_words(&self) -> String {
        let shard = self.rows.shard();
        let source = match &self.source {
            TextSource::HeldOut { folder } => format!("held out, `{}`", folder.display()),
            TextSource::Files { files, detokenizer } => {
                let detokenizer = match detokenizer {
                    Some(detokenizer) => format!("detokenizer {}", name(*detokenizer)),
                    None => "no detokenizer".to_owned(),
                };
                let files = match &files[..] {
                    [file] => format!(
                        "`{}` ({} bytes, SHA-256 {})",
                        file.path.display(),
                        format::count(file.n_bytes as usize),
                        file.sha256
                    ),
                    files => format!("{} files (--json names them)", format::count(files.len())),
                };
                format!("{files}, {detokenizer}")
            }
        };
        format!(
            "{source}; {} documents, {} tokens",
            format::count(shard.n_documents()),
            format::count(shard.n_tokens())
        )
    }

    /// How it is cut, in words.
    pub fn rows_in_words(&self) -> String {
        let n_dropped = format::count(self.rows.n_dropped_tokens());
        let (rows, remainder) = match self.packing {
            Packing::Concatenated => (
                "BOS, text, EOS; documents follow each other with EOS between",
                format!("the last {n_dropped} tokens fill no row and are left out"),
            ),
            Packing::Padded => (
                "BOS, one document, EOS, padding",
                format!("{n_dropped} tokens of longer documents are left out"),
            ),
        };
        format!(
            "{} of {} tokens: {rows}; no overlap; {remainder}",
            format::count(self.rows.n_rows()),
            format::count(self.rows.seq_len()),
        )
    }
}

/// Its name in JSON.
fn name(detokenizer: Detokenizer) -> String {
    match json!(detokenizer) {
        Value::String(name) => name,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_set_has_a_name() {
        for (given, detokenizer) in [
            ("ptb", Some(Detokenizer::Ptb)),
            ("wikitext", Some(Detokenizer::Wikitext)),
            ("lm1b", Some(Detokenizer::Lm1b)),
            ("lambada", Some(Detokenizer::Lambada)),
            ("ag-news", None),
            ("pubmed", Some(Detokenizer::ScientificPapers)),
            ("arxiv", Some(Detokenizer::ScientificPapers)),
        ] {
            let set = TextSet::from_str(given, false).unwrap();
            assert_eq!(set.detokenizer(), detokenizer, "{given}");
        }
    }
}
