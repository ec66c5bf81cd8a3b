use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pgm_data::BadLines;

use super::config_args::ConfigArgs;
use crate::format;
use crate::progress::TrainingProgress;

const AFTER_HELP: &str = "\
Text:
  data.inputs names files and folders. Read are .txt and .jsonl, each also compressed, as .txt.gz
  or .jsonl.zst; in folders, other files are passed over, with a warning that names them.
  .txt    one document a file, or cut by data.split: {blank-lines = 2} or {separator = \"%\"}
  .jsonl  one JSON object a line, one document in each; its text is the field data.text_field.
          A line that is none is an error, or left out and counted with --skip-bad-lines
  The text streams, so it may be larger than memory; only a single document has to fit.

Tokens:
  data.tokenizer   gpt2, bpe-<size> (learned from the training text), or a path to a .json file
  data.special_tokens  {bos = \"<s>\", eos = 2}, also mask and pad: where its files do not tell
                   (`pgm info tokenizer.json` says what they do)
  data.allow_lossy_tokenizer  true goes on where the tokenizer drops characters or has an unknown
                   token for them; they are counted
  data.validation  {fraction = 0.05} of every document, or {documents = 1000}: the last ones
  data.packing and data.seq_len are settings of a run: the same tokens serve all lengths.

Examples:
  pgm prepare-data --output tokens --set 'data.inputs=[\"books\"]' --set data.tokenizer=gpt2
  pgm prepare-data --output tokens --config owt.toml
  pgm train --config owt.toml --set data.folder=tokens";

/// Turn the text of a configuration into token shards, to be shared by runs
///
/// Training does this by itself; here it is done once for many runs, which then name the folder with
/// `--set data.folder=DIR`. A folder that is finished and was made from the same text and settings
/// is reused; any other, an interrupted one too, is made anew. Nothing is written before all of the text has been
/// read once without an error.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct PrepareDataArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where to put the tokens
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Leave out lines of `.jsonl` files that are no documents, with a count (`data.bad_lines`)
    #[arg(long)]
    skip_bad_lines: bool,
}

impl PrepareDataArgs {
    pub fn run(self) -> Result<ExitCode> {
        let mut config = self.config.load()?;
        if self.skip_bad_lines {
            config.data.bad_lines = BadLines::Skip;
        }
        let prepare_config = config.data.prepare_config(self.output);
        let mut progress = TrainingProgress::default();
        let data = pgm_data::prepare(&prepare_config, &mut |event| progress.prepare(event))?;
        drop(progress);
        let sources = data.manifest().sources.iter();
        let skipped = match sources.map(|source| source.n_skipped_lines).sum::<usize>() {
            0 => String::new(),
            n_lines => format!(", {} bad lines left out", format::count(n_lines)),
        };
        println!(
            "{}: {} training and {} validation tokens, tokenizer {} ({} ids){skipped}",
            data.folder().display(),
            format::count(data.train().n_tokens()),
            format::count(data.validation().n_tokens()),
            data.tokenizer().name(),
            format::count(data.tokenizer().vocab_size()),
        );
        Ok(ExitCode::SUCCESS)
    }
}
