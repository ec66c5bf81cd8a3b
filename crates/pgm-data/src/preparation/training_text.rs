use crate::text::SkippedLines;
use crate::{
    Corpus, DataError, PrepareConfig, PrepareProgress, PreparedData, ShardRecord, ShardWriter,
    SourceRecord, TextLoss, Tokenizer, ValidationSplit,
};

/// Bytes of text that are tokenised at a time; a longer document is a batch of its own.
const BATCH_BYTES: usize = 1 << 22;

/// Bytes of text at the beginning of each side whose tokens are turned back into text.
const DECODED_BYTES: usize = 1 << 16;

/// A corpus whose documents are counted and assigned to a side.
pub(crate) struct TrainingText<'a> {
    corpus: &'a Corpus,
    validation: ValidationSplit,
    n_documents: usize,
    n_bytes: u64,
}

impl<'a> TrainingText<'a> {
    /// Reads all of the text once, so that nothing is written where a part of it is unreadable; puts the number of
    /// documents into `sources`.
    ///
    /// # Errors
    /// When a file cannot be read, or the text does not give both sides a document.
    pub(crate) fn count(
        config: &PrepareConfig,
        corpus: &'a Corpus,
        sources: &mut [SourceRecord],
    ) -> Result<Self, DataError> {
        let mut n_bytes = 0;
        let mut skipped = SkippedLines::default();
        for (index, source) in sources.iter_mut().enumerate() {
            let mut documents = corpus.open_file(index)?;
            for document in documents.by_ref() {
                let document = document.map_err(DataError::with_bad_lines_setting)?;
                source.n_documents += 1;
                n_bytes += document.len() as u64;
            }
            let skipped_here = documents.into_skipped();
            source.n_skipped_lines = skipped_here.n_lines;
            skipped.append(skipped_here);
        }
        let n_documents = sources.iter().map(|source| source.n_documents).sum();
        if n_documents == 0 {
            // Where each line was left out, the first one says why.
            let bad_line = skipped.first.into_iter().next();
            return Err(bad_line.unwrap_or_else(|| Corpus::empty(&config.inputs)));
        }
        skipped.warn();
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
            n_bytes,
        })
    }

    /// Learns a byte-level BPE from the training side.
    pub(crate) fn train_tokenizer(&self, vocab_size: usize) -> Result<Tokenizer, DataError> {
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

    /// Writes both shards; gives their counts, training first, and what of the text the tokens do not have.
    ///
    /// # Errors
    /// When a file cannot be read or written, one side is empty, or text is lost that the configuration does not give
    /// leave to lose.
    pub(crate) fn tokenize(
        &self,
        tokenizer: &Tokenizer,
        config: &PrepareConfig,
        progress: &mut dyn FnMut(PrepareProgress),
    ) -> Result<([ShardRecord; 2], TextLoss), DataError> {
        let output = &config.output;
        let begin = |name| {
            let vocab_size = u32::try_from(tokenizer.vocab_size()).expect("ids have 32 bits");
            let path = output.join(name);
            ShardWriter::create(path, vocab_size, tokenizer.fingerprint()).map(Side::new)
        };
        let mut train = begin(PreparedData::TRAIN_FILE)?;
        let mut validation = begin(PreparedData::VALIDATION_FILE)?;
        let mut loss = TextLoss::default();
        let mut write_waiting = |train: &mut Side, validation: &mut Side, n_bytes: u64| {
            loss.add(&train.write_waiting(tokenizer)?);
            loss.add(&validation.write_waiting(tokenizer)?);
            // Nobody waits for hours to be told.
            if !loss.is_none() && !config.allow_lossy_tokenizer {
                return Err(DataError::LossyTokenizer {
                    name: tokenizer.name().to_owned(),
                    n_bytes,
                    loss: loss.clone(),
                });
            }
            progress(PrepareProgress::Tokenized {
                n_bytes,
                n_bytes_total: self.n_bytes,
                n_tokens: train.writer.n_tokens() + validation.writer.n_tokens(),
            });
            Ok::<_, DataError>(())
        };
        let mut n_bytes = 0;
        for (index, document) in self.corpus.documents().enumerate() {
            let document = document?;
            n_bytes += document.len() as u64;
            let parts = self.validation.parts(index, self.n_documents, &document);
            train.extend(parts.0);
            validation.extend(parts.1);
            if train.n_waiting_bytes + validation.n_waiting_bytes >= BATCH_BYTES {
                write_waiting(&mut train, &mut validation, n_bytes)?;
            }
        }
        write_waiting(&mut train, &mut validation, n_bytes)?;
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
        Ok(([train.finish()?, validation.finish()?], loss))
    }
}

/// One of the two shards while it is written.
struct Side {
    writer: ShardWriter,
    waiting: Vec<String>,
    n_waiting_bytes: usize,
    n_text_bytes: u64,
    n_decoded_bytes: usize,
}

impl Side {
    fn new(writer: ShardWriter) -> Self {
        Self {
            writer,
            waiting: Vec::new(),
            n_waiting_bytes: 0,
            n_text_bytes: 0,
            n_decoded_bytes: 0,
        }
    }

    fn extend(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.n_waiting_bytes += text.len();
            self.waiting.push(text.to_owned());
        }
    }

    /// Writes the tokens of what has come up; gives what they do not have of it.
    fn write_waiting(&mut self, tokenizer: &Tokenizer) -> Result<TextLoss, DataError> {
        let texts: Vec<&str> = self.waiting.iter().map(String::as_str).collect();
        let (all_tokens, mut loss) = tokenizer.encode_batch_counting(&texts)?;
        let loses_none = loss.is_none();
        for (tokens, text) in all_tokens.iter().zip(texts) {
            self.writer.push_document(tokens)?;
            // That the tokens have the text is counted for all of it; that they are spelled right is a matter of the
            // decoder, which a part of the text shows.
            if loses_none && self.n_decoded_bytes < DECODED_BYTES {
                let part = &text[..text.floor_char_boundary(DECODED_BYTES)];
                self.n_decoded_bytes += part.len();
                loss.add(&tokenizer.decoding_loss(part)?);
            }
        }
        self.n_text_bytes += self.n_waiting_bytes as u64;
        self.n_waiting_bytes = 0;
        self.waiting.clear();
        Ok(loss)
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
