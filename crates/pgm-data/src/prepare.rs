use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checksum::sha256_hex;
use crate::corpus::text_of;
use crate::{
    Corpus, DataError, DocumentSplit, Manifest, PreparedData, ShardRecord, ShardWriter,
    SourceRecord, Tokenizer, TokenizerSpec, ValidationSplit,
};

/// Bytes of text that are tokenised at a time; a longer document is a batch of its own.
const BATCH_BYTES: usize = 1 << 22;

/// What to make token shards from, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareConfig {
    /// Text files and folders, in the order in which they are read.
    pub inputs: Vec<PathBuf>,
    /// The tokenizer; a `bpe-…` is learned from the training text alone.
    pub tokenizer: TokenizerSpec,
    /// What is kept out of training.
    pub validation: ValidationSplit,
    /// How files are cut into documents; a file is one document unless said otherwise.
    #[serde(default)]
    pub split: DocumentSplit,
    /// The folder for `train.tok`, `validation.tok`, `tokenizer.json` and `manifest.json`; made if missing.
    pub output: PathBuf,
}

/// How far [`prepare`] has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrepareProgress {
    /// Another source file has been read and hashed.
    Scanned {
        /// Files read.
        n_files: usize,
        /// Files to read.
        n_files_total: usize,
        /// Bytes read so far.
        n_bytes: u64,
    },
    /// The output folder holds these data already; nothing more follows.
    Reused,
    /// A tokenizer is being learned.
    TrainingTokenizer {
        /// The vocabulary asked for.
        vocab_size: usize,
    },
    /// Another batch of text has been tokenised.
    Tokenized {
        /// Bytes of text so far.
        n_bytes: u64,
        /// About how many bytes there are; the sources' sizes.
        n_bytes_total: u64,
        /// Tokens so far.
        n_tokens: u64,
    },
}

/// Makes token shards from text, or opens the output folder if it holds the same data already.
///
/// "The same" is the same settings and the same bytes in every source; paths do not matter. Otherwise the
/// folder's own four files are replaced. The manifest comes last, so that an interrupted run is never taken
/// for a finished one. Two runs on the same text write the same bytes.
///
/// Memory holds one source file at a time and some megabytes of text.
///
/// # Errors
/// When a setting is invalid, a source cannot be read, the split leaves one side empty, or the output folder
/// cannot be written.
pub fn prepare(
    config: &PrepareConfig,
    progress: &mut dyn FnMut(PrepareProgress),
) -> Result<PreparedData, DataError> {
    config.tokenizer.validate()?;
    config.validation.validate()?;
    let corpus = Corpus::open(&config.inputs, config.split.clone())?;
    let sources = scan(&corpus, progress)?;
    let text = TrainingText::new(config, &corpus, &sources)?;
    let tokenizer = TokenizerSource::new(&config.tokenizer)?;
    let content_key = content_key(config, &sources, &tokenizer);
    if let Some(finished) = finished(&config.output, &content_key) {
        progress(PrepareProgress::Reused);
        return Ok(finished);
    }

    clear(&config.output)?;
    let tokenizer = match tokenizer {
        TokenizerSource::Given(given) => *given,
        TokenizerSource::Learned { vocab_size } => {
            progress(PrepareProgress::TrainingTokenizer { vocab_size });
            text.train_tokenizer(vocab_size)?
        }
    };
    let [train, validation_set] = text.tokenize(&tokenizer, &config.output, progress)?;
    tokenizer.save(config.output.join(PreparedData::TOKENIZER_FILE))?;
    Manifest {
        format_version: Manifest::VERSION,
        content_key,
        tokenizer: config.tokenizer.clone(),
        tokenizer_fingerprint: tokenizer.fingerprint().to_owned(),
        vocab_size: tokenizer.vocab_size(),
        split: config.split.clone(),
        validation: config.validation,
        sources,
        train,
        validation_set,
    }
    .write(&config.output)?;
    PreparedData::open(&config.output)
}

/// Where the tokenizer comes from.
enum TokenizerSource {
    Given(Box<Tokenizer>),
    Learned { vocab_size: usize },
}

impl TokenizerSource {
    fn new(spec: &TokenizerSpec) -> Result<Self, DataError> {
        Ok(match spec {
            TokenizerSpec::Gpt2 => Self::Given(Box::new(Tokenizer::gpt2())),
            TokenizerSpec::File(path) => Self::Given(Box::new(Tokenizer::from_file(path)?)),
            &TokenizerSpec::Bpe { vocab_size } => Self::Learned { vocab_size },
        })
    }
}

/// Reads every source once: sizes, hashes, documents, and whether it is UTF-8 at all.
fn scan(
    corpus: &Corpus,
    progress: &mut dyn FnMut(PrepareProgress),
) -> Result<Vec<SourceRecord>, DataError> {
    let mut sources = Vec::with_capacity(corpus.files().len());
    let mut n_bytes = 0;
    for path in corpus.files() {
        let bytes = fs::read(path).map_err(DataError::io("read", path))?;
        let sha256 = sha256_hex(&bytes);
        let size = bytes.len() as u64;
        let text = text_of(bytes, path)?;
        n_bytes += size;
        sources.push(SourceRecord {
            path: path.clone(),
            n_bytes: size,
            sha256,
            n_documents: corpus.split().documents(&text).len(),
        });
        progress(PrepareProgress::Scanned {
            n_files: sources.len(),
            n_files_total: corpus.files().len(),
            n_bytes,
        });
    }
    Ok(sources)
}

fn content_key(
    config: &PrepareConfig,
    sources: &[SourceRecord],
    tokenizer: &TokenizerSource,
) -> String {
    let contents: Vec<_> = sources
        .iter()
        .map(|source| (source.n_bytes, &source.sha256))
        .collect();
    let tokenizer = match tokenizer {
        TokenizerSource::Given(given) => given.fingerprint(),
        TokenizerSource::Learned { .. } => &config.tokenizer.to_string(),
    };
    let parts = (
        Manifest::VERSION,
        tokenizer,
        &config.validation,
        &config.split,
        contents,
    );
    let json = serde_json::to_vec(&parts).expect("plain numbers and texts have a JSON form");
    sha256_hex(&json)
}

/// The output folder's data, if they are whole and made from the same content.
fn finished(output: &Path, content_key: &str) -> Option<PreparedData> {
    match Manifest::read(output) {
        Ok(manifest) if manifest.content_key == content_key => {}
        Ok(_) | Err(DataError::NotPrepared { .. }) => return None,
        Err(error) => {
            tracing::warn!(%error, "prepared data are made again");
            return None;
        }
    }
    PreparedData::open(output)
        .inspect_err(|error| tracing::warn!(%error, "prepared data are made again"))
        .ok()
}

/// Makes the output folder and removes what an earlier preparation left in it, the manifest first.
fn clear(output: &Path) -> Result<(), DataError> {
    fs::create_dir_all(output).map_err(DataError::io("create", output))?;
    for name in [
        Manifest::FILE_NAME,
        PreparedData::TRAIN_FILE,
        PreparedData::VALIDATION_FILE,
        PreparedData::TOKENIZER_FILE,
    ] {
        let path = output.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(DataError::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A corpus whose documents are counted and assigned to a side.
struct TrainingText<'a> {
    corpus: &'a Corpus,
    validation: ValidationSplit,
    n_documents: usize,
    n_bytes: u64,
}

impl<'a> TrainingText<'a> {
    fn new(
        config: &PrepareConfig,
        corpus: &'a Corpus,
        sources: &[SourceRecord],
    ) -> Result<Self, DataError> {
        let n_documents = sources.iter().map(|source| source.n_documents).sum();
        if n_documents == 0 {
            return Err(Corpus::empty(&config.inputs));
        }
        if let ValidationSplit::Documents(n_kept) = config.validation
            && n_kept >= n_documents
        {
            return Err(config.validation.invalid(
                format!("leaves nothing of {n_documents} documents to train on"),
                "keep fewer documents, use a fraction, or cut the files into more documents",
            ));
        }
        Ok(Self {
            corpus,
            validation: config.validation,
            n_documents,
            n_bytes: sources.iter().map(|source| source.n_bytes).sum(),
        })
    }

    fn train_tokenizer(&self, vocab_size: usize) -> Result<Tokenizer, DataError> {
        let mut failure = None;
        let texts = self
            .corpus
            .documents()
            .enumerate()
            .map_while(|(index, document)| match document {
                Ok(text) => Some((index, text)),
                Err(error) => {
                    failure = Some(error);
                    None
                }
            })
            .filter_map(|(index, text)| {
                let (train, _) = self.validation.parts(index, self.n_documents, &text);
                train.map(str::to_owned)
            });
        let tokenizer = Tokenizer::train_bpe(texts, vocab_size);
        match failure {
            Some(error) => Err(error),
            None => tokenizer,
        }
    }

    /// Writes both shards; gives their counts, training first.
    fn tokenize(
        &self,
        tokenizer: &Tokenizer,
        output: &Path,
        progress: &mut dyn FnMut(PrepareProgress),
    ) -> Result<[ShardRecord; 2], DataError> {
        let begin = |name| {
            let vocab_size = u32::try_from(tokenizer.vocab_size()).expect("ids have 32 bits");
            let path = output.join(name);
            ShardWriter::create(path, vocab_size, tokenizer.fingerprint()).map(Side::new)
        };
        let mut train = begin(PreparedData::TRAIN_FILE)?;
        let mut validation = begin(PreparedData::VALIDATION_FILE)?;
        let mut write_waiting = |train: &mut Side, validation: &mut Side| {
            train.write_waiting(tokenizer)?;
            validation.write_waiting(tokenizer)?;
            progress(PrepareProgress::Tokenized {
                n_bytes: train.n_text_bytes + validation.n_text_bytes,
                n_bytes_total: self.n_bytes,
                n_tokens: train.writer.n_tokens() + validation.writer.n_tokens(),
            });
            Ok::<_, DataError>(())
        };
        for (index, document) in self.corpus.documents().enumerate() {
            let document = document?;
            let parts = self.validation.parts(index, self.n_documents, &document);
            train.extend(parts.0);
            validation.extend(parts.1);
            if train.n_waiting_bytes + validation.n_waiting_bytes >= BATCH_BYTES {
                write_waiting(&mut train, &mut validation)?;
            }
        }
        write_waiting(&mut train, &mut validation)?;
        if validation.writer.n_tokens() == 0 || train.writer.n_tokens() == 0 {
            return Err(self.validation.invalid(
                format!(
                    "leaves one side empty: {} tokens to train on, {} to validate with",
                    train.writer.n_tokens(),
                    validation.writer.n_tokens()
                ),
                "use a larger fraction, a number of documents, or more text",
            ));
        }
        Ok([train.finish()?, validation.finish()?])
    }
}

/// One of the two shards while it is written.
struct Side {
    writer: ShardWriter,
    waiting: Vec<String>,
    n_waiting_bytes: usize,
    n_text_bytes: u64,
}

impl Side {
    fn new(writer: ShardWriter) -> Self {
        Self {
            writer,
            waiting: Vec::new(),
            n_waiting_bytes: 0,
            n_text_bytes: 0,
        }
    }

    fn extend(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.n_waiting_bytes += text.len();
            self.waiting.push(text.to_owned());
        }
    }

    fn write_waiting(&mut self, tokenizer: &Tokenizer) -> Result<(), DataError> {
        let texts: Vec<&str> = self.waiting.iter().map(String::as_str).collect();
        for tokens in tokenizer.encode_batch(&texts)? {
            self.writer.push_document(&tokens)?;
        }
        self.n_text_bytes += self.n_waiting_bytes as u64;
        self.n_waiting_bytes = 0;
        self.waiting.clear();
        Ok(())
    }

    fn finish(self) -> Result<ShardRecord, DataError> {
        let record = ShardRecord {
            n_documents: self.writer.n_documents(),
            n_tokens: self.writer.n_tokens(),
            n_text_bytes: self.n_text_bytes,
        };
        self.writer.finish()?;
        Ok(record)
    }
}
