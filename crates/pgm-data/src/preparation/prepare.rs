use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::prepare_lock::PrepareLock;
use super::training_text::TrainingText;
use crate::files::{AtomicFile, sha256_hex, sha256_of_file};
use crate::{
    BadLines, Corpus, DataError, DocumentSplit, Manifest, PreparedData, SourceRecord,
    SpecialTokenChoice, Tokenizer, TokenizerSpec, ValidationSplit,
};

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
    /// How `.txt` files are cut into documents; a file is one document unless said otherwise.
    #[serde(default)]
    pub split: DocumentSplit,
    /// The field of `.jsonl` lines that holds the text; [`Corpus::TEXT_FIELD`] unless said otherwise.
    #[serde(default = "default_text_field")]
    pub text_field: String,
    /// What becomes of `.jsonl` lines that are no documents; the first is an error unless said otherwise.
    #[serde(default)]
    pub bad_lines: BadLines,
    /// Special tokens of the tokenizer that its files do not tell, or tell wrongly.
    #[serde(default, skip_serializing_if = "SpecialTokenChoice::is_empty")]
    pub special_tokens: SpecialTokenChoice,
    /// Go on where the tokenizer does not keep all of the text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_lossy_tokenizer: bool,
    /// The folder for `train.tok`, `validation.tok`, `tokenizer.json` and `manifest.json`; made if missing.
    pub output: PathBuf,
}

fn default_text_field() -> String {
    Corpus::TEXT_FIELD.to_owned()
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
        /// Bytes of text in all documents; the last event has as many in `n_bytes`.
        n_bytes_total: u64,
        /// Tokens so far.
        n_tokens: u64,
    },
}

/// Makes token shards from text, or opens the output folder if it holds the same data already.
///
/// "The same" is the same settings and the same bytes in every source; paths do not matter. Otherwise the
/// folder's own four files are replaced, once all of the text has been read without an error. The manifest
/// comes last, so that an interrupted run is never taken for a finished one; the next run starts clean. Two
/// runs on the same text write the same bytes, and two at a time wait for each other.
///
/// The text streams: memory holds some megabytes, the longest document several times over (as text and as tokens)
/// and 8 bytes a document. A `.txt` file is one document unless [`DocumentSplit`] says otherwise. Learning
/// a tokenizer keeps each distinct word too.
///
/// # Errors
/// When a setting is invalid, a source cannot be read, the tokenizer loses text, the split leaves one side empty, or the
/// output folder cannot be written.
pub fn prepare(
    config: &PrepareConfig,
    progress: &mut dyn FnMut(PrepareProgress),
) -> Result<PreparedData, DataError> {
    config.tokenizer.validate()?;
    config.validation.validate()?;
    let corpus = Corpus::open(&config.inputs, config.split.clone())?
        .with_text_field(config.text_field.clone())
        .with_bad_lines(config.bad_lines);
    let mut sources = scan(&corpus, progress)?;
    let tokenizer = TokenizerSource::new(config)?;
    let content_key = content_key(config, &corpus, &sources, &tokenizer);
    if let Some(finished) = finished(config, &content_key)? {
        progress(PrepareProgress::Reused);
        return Ok(finished);
    }

    let text = TrainingText::count(config, &corpus, &mut sources)?;
    let _lock = PrepareLock::wait(&config.output)?;
    // Another process may have made them while this one waited.
    if let Some(finished) = finished(config, &content_key)? {
        progress(PrepareProgress::Reused);
        return Ok(finished);
    }
    clear(&config.output)?;
    let tokenizer = match tokenizer {
        TokenizerSource::Given(given) => *given,
        TokenizerSource::Learned { vocab_size } => {
            progress(PrepareProgress::TrainingTokenizer { vocab_size });
            let learned = text.train_tokenizer(vocab_size)?;
            learned.choosing(&config.special_tokens)?
        }
    };
    let ([train, validation_set], loss) = text.tokenize(&tokenizer, config, progress)?;
    if !loss.is_none() {
        tracing::warn!(
            tokenizer = tokenizer.name(),
            "the tokens do not have all of the text: {loss}"
        );
    }
    if loss.n_white_space > 0 {
        tracing::warn!(
            tokenizer = tokenizer.name(),
            n_characters = loss.n_white_space,
            "white space became the unknown token, line ends for instance"
        );
    }
    tokenizer.save(config.output.join(PreparedData::TOKENIZER_FILE))?;
    Manifest {
        format_version: Manifest::VERSION,
        content_key,
        tokenizer: config.tokenizer.clone(),
        tokenizer_fingerprint: tokenizer.fingerprint().to_owned(),
        vocab_size: tokenizer.vocab_size(),
        special_tokens: Some(tokenizer.special_tokens().clone()),
        text_loss: (!loss.is_none()).then_some(loss),
        split: config.split.clone(),
        text_field: (!corpus.json_lines().is_empty()).then(|| config.text_field.clone()),
        bad_lines: config.bad_lines,
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
    fn new(config: &PrepareConfig) -> Result<Self, DataError> {
        if let TokenizerSpec::Bpe { vocab_size } = config.tokenizer {
            return Ok(Self::Learned { vocab_size });
        }
        let given = config.tokenizer.open(&config.special_tokens)?;
        Ok(Self::Given(Box::new(
            given.expect("any other is there before the text is"),
        )))
    }
}

/// Reads every source once: sizes and hashes.
fn scan(
    corpus: &Corpus,
    progress: &mut dyn FnMut(PrepareProgress),
) -> Result<Vec<SourceRecord>, DataError> {
    let mut sources = Vec::with_capacity(corpus.files().len());
    let mut n_bytes_total = 0;
    for path in corpus.files() {
        let (n_bytes, sha256) = sha256_of_file(path)?;
        n_bytes_total += n_bytes;
        sources.push(SourceRecord {
            path: path.clone(),
            n_bytes,
            sha256,
            n_documents: 0,
            n_skipped_lines: 0,
        });
        progress(PrepareProgress::Scanned {
            n_files: sources.len(),
            n_files_total: corpus.files().len(),
            n_bytes: n_bytes_total,
        });
    }
    Ok(sources)
}

/// What prepared data depend on, as one hash.
fn content_key(
    config: &PrepareConfig,
    corpus: &Corpus,
    sources: &[SourceRecord],
    tokenizer: &TokenizerSource,
) -> String {
    let contents: Vec<_> = sources
        .iter()
        .map(|source| (source.n_bytes, &source.sha256))
        .collect();
    let tokenizer = match tokenizer {
        TokenizerSource::Given(given) => given.fingerprint(),
        TokenizerSource::Learned { .. } if config.special_tokens.is_empty() => {
            &config.tokenizer.to_string()
        }
        TokenizerSource::Learned { .. } => {
            &format!("{} {:?}", config.tokenizer, config.special_tokens)
        }
    };
    let parts = (
        Manifest::VERSION,
        tokenizer,
        &config.validation,
        &config.split,
        contents,
    );
    // The same bytes are other documents as `.jsonl`; without such files the key stays what it was before them. So it
    // does without lines to skip: where there is one, data of the other setting were never finished.
    let json_lines = corpus.json_lines();
    let json = if json_lines.is_empty() {
        serde_json::to_vec(&parts)
    } else if config.bad_lines.is_default() {
        serde_json::to_vec(&(parts, corpus.text_field(), json_lines))
    } else {
        serde_json::to_vec(&(parts, corpus.text_field(), json_lines, config.bad_lines))
    }
    .expect("plain numbers and texts have a JSON form");
    sha256_hex(&json)
}

/// The output folder's data, if they are whole and made from the same content.
///
/// # Errors
/// When they were made with leave to lose text, lost some, and that leave is not given now.
fn finished(config: &PrepareConfig, content_key: &str) -> Result<Option<PreparedData>, DataError> {
    let output = &config.output;
    match Manifest::read(output) {
        Ok(manifest) if manifest.content_key == content_key => {}
        Ok(_) | Err(DataError::NotPrepared { .. }) => return Ok(None),
        Err(error) => {
            tracing::warn!(%error, "prepared data are made again");
            return Ok(None);
        }
    }
    let opened = PreparedData::open(output)
        .inspect_err(|error| tracing::warn!(%error, "prepared data are made again"));
    let Ok(data) = opened else { return Ok(None) };
    match &data.manifest().text_loss {
        Some(loss) if !config.allow_lossy_tokenizer => Err(DataError::LossyTokenizer {
            name: data.tokenizer().name().to_owned(),
            n_bytes: data.manifest().train.n_text_bytes
                + data.manifest().validation_set.n_text_bytes,
            loss: loss.clone(),
        }),
        _ => Ok(Some(data)),
    }
}

/// Removes what an earlier preparation left in the output folder, finished or killed; the manifest first.
fn clear(output: &Path) -> Result<(), DataError> {
    let remove = |path: PathBuf| match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DataError::io("remove", &path)(error))
        }
        _ => Ok(()),
    };
    for name in [
        Manifest::FILE_NAME,
        PreparedData::TRAIN_FILE,
        PreparedData::VALIDATION_FILE,
        PreparedData::TOKENIZER_FILE,
    ] {
        remove(output.join(name))?;
        for path in AtomicFile::leftovers(&output.join(name))? {
            remove(path)?;
        }
    }
    Ok(())
}
