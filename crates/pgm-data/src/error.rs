use std::error::Error;
use std::path::{Path, PathBuf};

use crate::{FileContent, TextLoss, TokenName, TokenRole};

/// Everything that can go wrong between a text file and a batch of tokens.
///
/// Messages hold the reasons of other libraries, so that there is no chain of sources to print.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} `{}`: {reason}", path.display())]
    Io {
        /// What was tried, for instance `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        reason: std::io::Error,
    },
    /// A path that was asked for does not exist.
    #[error("`{}` does not exist, wanted a file or a folder; check the path, it is relative to the working directory", path.display())]
    MissingPath {
        /// The path as given.
        path: PathBuf,
    },
    /// A file that was named explicitly has an ending that no reader knows.
    #[error("`{}` is not a kind of text file that can be read, wanted a name that ends in {wanted}; convert it first, or let it end in `.jsonl` if each line of it is a JSON object", path.display())]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// The endings that are read.
        wanted: &'static str,
    },
    /// A text file is not UTF-8.
    #[error("`{}` is not UTF-8: byte {byte_offset} of its text is invalid; convert it, for instance with `iconv -t UTF-8`", path.display())]
    InvalidUtf8 {
        /// The file.
        path: PathBuf,
        /// Where the first invalid sequence starts, in bytes from the start of the file, decompressed.
        byte_offset: u64,
    },
    /// A file that holds something else than text.
    #[error("`{}` is {content}", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// What it holds; says the way out.
        content: FileContent,
    },
    /// A file that is not compressed as its name says.
    #[error("`{}` does not begin as a {wanted} file, as its name says; take `.{ending}` off the name if it holds plain text, else copy or compress it again", path.display())]
    NotCompressed {
        /// The file.
        path: PathBuf,
        /// The compression.
        wanted: &'static str,
        /// The ending of the name.
        ending: &'static str,
    },
    /// A compressed file that is whole, and of a form that is not read.
    #[error("`{}` cannot be decompressed: {reason}", path.display())]
    UnsupportedArchive {
        /// The file.
        path: PathBuf,
        /// What it has, and the way out.
        reason: String,
    },
    /// A compressed file that cannot be decompressed.
    #[error("`{}` is cut short or damaged: {reason}; copy or compress it again", path.display())]
    DamagedArchive {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// A line of a `.jsonl` file that is no object with a text in it.
    #[error("line {line} of `{}` {problem}", path.display())]
    JsonLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it, and the way out.
        problem: String,
    },
    /// The inputs hold no document with text in it.
    #[error(
        "found no text in {inputs}, wanted at least one file with text in it whose name ends in {wanted}; check the paths"
    )]
    EmptyCorpus {
        /// The inputs as given, each in backticks.
        inputs: String,
        /// The endings that are read.
        wanted: &'static str,
    },
    /// A document split that can match nothing.
    #[error("a document split of `{got}` separates nothing; wanted {wanted}")]
    InvalidDocumentSplit {
        /// The setting as given.
        got: String,
        /// What would be valid.
        wanted: &'static str,
    },
    /// A validation split that is out of range, or that leaves one side without text.
    #[error("validation split `{got}` {problem}; {way_out}")]
    InvalidValidationSplit {
        /// The setting as given.
        got: String,
        /// What is wrong with it.
        problem: String,
        /// What to change.
        way_out: &'static str,
    },
    /// A tokenizer setting that is none of the known forms.
    #[error(
        "`{got}` names no tokenizer; wanted `gpt2`, `bpe-<vocabulary size>` such as `bpe-1024`, or the path of a `.json` file"
    )]
    UnknownTokenizer {
        /// The setting as given.
        got: String,
    },
    /// A vocabulary size that byte-level BPE cannot have.
    #[error(
        "a byte-level BPE cannot have {got} tokens; wanted {minimum} (256 bytes and `<|endoftext|>`) to {maximum}"
    )]
    InvalidVocabSize {
        /// The size as given.
        got: usize,
        /// The smallest size.
        minimum: usize,
        /// The largest size.
        maximum: usize,
    },
    /// There is more text than the BPE trainer's 32-bit pair counts can hold.
    #[error(
        "a tokenizer can be trained on at most {limit} bytes of text, got more; train it on a part of the corpus and give its `tokenizer.json` as the tokenizer"
    )]
    TokenizerTextTooLarge {
        /// The most text that can be used, in bytes.
        limit: usize,
    },
    /// A tokenizer of which nothing says what begins or ends a text.
    #[error(
        "tokenizer `{name}` has no token that is known as {role}: {special}, none of a usual name, and neither its post-processor nor a `tokenizer_config.json`, `config.json` or `generation_config.json` beside a `tokenizer.json` tells; name the token with `special_tokens`, as in `special_tokens = {{ {} = \"<token>\" }}`", role.key()
    )]
    MissingSpecialTokens {
        /// The tokenizer's name.
        name: String,
        /// What no token is known for.
        role: TokenRole,
        /// Which special tokens there are, in words.
        special: String,
    },
    /// A setting names a token that the vocabulary does not have.
    #[error(
        "tokenizer `{name}` has no token {got}, which `special_tokens` names as {role}; wanted a token as the vocabulary spells it, or its id"
    )]
    UnknownSpecialToken {
        /// The tokenizer's name.
        name: String,
        /// What it is to be.
        role: TokenRole,
        /// The setting as given.
        got: TokenName,
    },
    /// A tokenizer that is not the one whose special tokens were noted.
    #[error(
        "tokenizer `{name}` is not the one that its special tokens were noted for: {role} was {id}, `{wanted}`, and that id is {}; put the right file back", found.as_ref().map_or("none of its tokens".to_owned(), |found| format!("`{found}`"))
    )]
    OtherSpecialToken {
        /// The tokenizer's name.
        name: String,
        /// What the token is for.
        role: TokenRole,
        /// Its id.
        id: u32,
        /// How it was spelled.
        wanted: String,
        /// How it is spelled now.
        found: Option<String>,
    },
    /// A setting for special tokens that is none.
    #[error(
        "`{got}` names no special token; wanted `bos=TOKEN,eos=TOKEN`, also with `mask` and `pad`, each once, a token being what the vocabulary has or its id"
    )]
    InvalidSpecialTokens {
        /// The part that is wrong.
        got: String,
    },
    /// A file beside a tokenizer that is not JSON.
    #[error("`{}` is not JSON: {reason}; correct it, or remove it to do without", path.display())]
    TokenizerCompanion {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// A tokenizer that does not keep the text that it is given.
    #[error(
        "tokenizer `{name}` does not keep the text: of {n_bytes} bytes, {loss}; take a tokenizer that has tokens for all of it (byte-level, or with byte fallback), or go on without with `data.allow_lossy_tokenizer = true`"
    )]
    LossyTokenizer {
        /// The tokenizer's name.
        name: String,
        /// Bytes of text that were looked at.
        n_bytes: u64,
        /// What is lost.
        loss: TextLoss,
    },
    /// The tokenizer library failed.
    #[error("tokenizer `{name}` cannot {action}: {reason}")]
    Tokenizer {
        /// The tokenizer's name.
        name: String,
        /// What was tried, for instance `encode`.
        action: &'static str,
        /// The library's answer.
        reason: Box<dyn Error + Send + Sync>,
    },
    /// A fingerprint that is not a SHA-256 in hexadecimal digits.
    #[error(
        "`{got}` is no fingerprint; wanted 64 hexadecimal digits, as `Tokenizer::fingerprint` gives"
    )]
    InvalidFingerprint {
        /// The value as given.
        got: String,
    },
    /// A token that the vocabulary does not have.
    #[error("token {token} is outside of the vocabulary of {vocab_size} tokens of shard `{}`; use the tokenizer that the shard is made with", path.display())]
    TokenOutOfRange {
        /// The shard.
        path: PathBuf,
        /// The token id.
        token: u32,
        /// The number of token ids; the largest is one less.
        vocab_size: u32,
    },
    /// A file that is something else than a token shard.
    #[error("`{}` is not a token shard: its first bytes differ; give a `.tok` file made by `prepare`", path.display())]
    NotAShard {
        /// The file.
        path: PathBuf,
    },
    /// A token shard of another format version.
    #[error("shard `{}` has format version {got}, this program reads version {wanted}; prepare the data again", path.display())]
    ShardVersion {
        /// The file.
        path: PathBuf,
        /// The file's version.
        got: u32,
        /// The version that is read.
        wanted: u32,
    },
    /// A token shard whose length is not what its header says.
    #[error("shard `{}` has {got} bytes, its header says {wanted}: it is cut short or damaged; copy or prepare it again", path.display())]
    TruncatedShard {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        got: u64,
        /// The length that the header asks for, in bytes.
        wanted: u64,
    },
    /// A token shard whose content is not what was written.
    #[error("shard `{}` is damaged: its checksum is `{got}`, its header says `{wanted}`; copy or prepare it again", path.display())]
    ShardChecksum {
        /// The file.
        path: PathBuf,
        /// The checksum of what is there.
        got: String,
        /// The checksum of what was written.
        wanted: String,
    },
    /// A token shard that was written whole, by a program that put the wrong things into it.
    #[error("shard `{}` is not made as a shard should be: {reason}; prepare the data again", path.display())]
    ShardContent {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A shard and a tokenizer that do not belong together.
    #[error("shard `{}` was made with the tokenizer of fingerprint `{got}`, the folder's is `{wanted}`; prepare the data again", path.display())]
    TokenizerMismatch {
        /// The shard, or the tokenizer's file.
        path: PathBuf,
        /// The fingerprint found.
        got: String,
        /// The fingerprint expected.
        wanted: String,
    },
    /// A folder that `prepare` has not finished.
    #[error("`{}` is not a folder of prepared data: it has no `manifest.json`; run `prepare` first", folder.display())]
    NotPrepared {
        /// The folder.
        folder: PathBuf,
    },
    /// A manifest that cannot be understood.
    #[error("cannot understand `{}`: {reason}; prepare the data again", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// A row length that leaves no room for text.
    #[error(
        "a row of {got} tokens is too short, wanted at least 3: beginning, one token, end; raise `seq_len`"
    )]
    InvalidSeqLen {
        /// The row length in tokens.
        got: usize,
    },
    /// A text that does not fill one row.
    #[error("shard `{}` has {n_tokens} tokens with the ends of its documents, wanted at least {wanted} for one row; use more text or a smaller `seq_len`", path.display())]
    TextTooShort {
        /// The shard.
        path: PathBuf,
        /// Tokens in the text, one end-of-text token a document included.
        n_tokens: usize,
        /// Tokens that one row takes from the text.
        wanted: usize,
    },
    /// Batches that would be empty.
    #[error(
        "cannot make batches of {batch_size} out of {n_items} items, wanted at least one of both; check `batch_size` and the data"
    )]
    EmptyBatches {
        /// Items in the data set.
        n_items: usize,
        /// Items in a batch.
        batch_size: usize,
    },
    /// A data set failed to give an item.
    #[error("cannot read item {index} of the data set: {reason}")]
    Dataset {
        /// The item.
        index: usize,
        /// The data set's answer.
        reason: Box<dyn Error + Send + Sync>,
    },
    /// A thread that makes batches has ended.
    #[error("the batch of step {step} was not made: {reason}")]
    BatchWorker {
        /// The optimizer step.
        step: u64,
        /// What the thread said.
        reason: String,
    },
}

impl DataError {
    /// Turns an operating system's error about `path` into a [`DataError`]; for `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> DataError + use<> {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            std::io::ErrorKind::NotFound if action == "read" => DataError::MissingPath { path },
            _ => DataError::Io {
                action,
                path,
                reason: source,
            },
        }
    }

    /// Names the setting that leaves bad lines out, where that is what is wrong and it can be chosen.
    pub(crate) fn with_bad_lines_setting(mut self) -> Self {
        if let Self::JsonLine { problem, .. } = &mut self {
            problem.push_str("; `bad_lines = \"skip\"` leaves such lines out");
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_from_an_unreadable_one() {
        let path = Path::new("absent.txt");
        let missing = DataError::io("read", path)(std::io::ErrorKind::NotFound.into());
        assert!(matches!(missing, DataError::MissingPath { .. }));
        let refused = DataError::io("read", path)(std::io::ErrorKind::PermissionDenied.into());
        assert!(refused.to_string().starts_with("cannot read `absent.txt`"));
    }

    #[test]
    fn errors_can_cross_threads() {
        fn assert_send_sync<T: Send + Sync + 'static>() {}
        assert_send_sync::<DataError>();
    }
}
