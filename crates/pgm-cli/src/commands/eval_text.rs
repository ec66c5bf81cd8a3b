use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use pgm_data::{Corpus, Detokenizer, ShardWriter, TokenDataset};
use pgm_train::LoadedRun;

use crate::format;

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
    /// ArXiv and PubMed
    ScientificPapers,
}

impl TextArgs {
    /// The rows of the text in the form of the run's; nothing if no text is given. Its tokens go into a file in the
    /// run's folder.
    pub fn rows(&self, run: &LoadedRun, folder: &Path) -> Result<Option<TokenDataset>> {
        if self.text.is_empty() {
            return Ok(None);
        }
        let data = &run.config.data;
        let corpus =
            Corpus::open(&self.text, data.split.clone())?.with_text_field(&data.text_field);
        let tokenizer = &run.tokenizer;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let mut writer = ShardWriter::create(
            folder.join("zero-shot.tok"),
            u32::try_from(tokenizer.vocab_size())?,
            tokenizer.fingerprint(),
        )?;
        for document in corpus.documents() {
            let document = document?;
            let document = match self.detokenizer {
                Some(set) => Detokenizer::from(set).apply(&document),
                None => document,
            };
            writer.push_document(&tokenizer.encode(&document)?)?;
        }
        let shard = writer.finish()?;
        eprintln!(
            "{} documents, {} tokens of other text",
            format::count(shard.n_documents()),
            format::count(shard.n_tokens())
        );
        Ok(Some(data.rows(&shard, tokenizer)?))
    }
}

impl From<TextSet> for Detokenizer {
    fn from(set: TextSet) -> Self {
        match set {
            TextSet::Wikitext => Self::Wikitext,
            TextSet::Ptb => Self::Ptb,
            TextSet::Lm1b => Self::Lm1b,
            TextSet::Lambada => Self::Lambada,
            TextSet::ScientificPapers => Self::ScientificPapers,
        }
    }
}
