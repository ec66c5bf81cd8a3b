use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::config_args::ConfigArgs;
use crate::format;
use crate::progress::prepare_event;

/// Turn the text of a configuration into token shards, to be shared by runs
///
/// Training does this by itself; here it is done once for many runs, which then name the folder with
/// `--set data.folder=DIR`. A folder that is finished already is reused.
#[derive(Debug, Args)]
pub struct PrepareDataArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where to put the tokens
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

impl PrepareDataArgs {
    pub fn run(self) -> Result<ExitCode> {
        let config = self.config.load()?;
        let prepare_config = config.data.prepare_config(self.output);
        let data = pgm_data::prepare(&prepare_config, &mut |event| {
            prepare_event(event, &mut |line| eprintln!("{line}"));
        })?;
        println!(
            "{}: {} training and {} validation tokens, tokenizer {} ({} ids)",
            data.folder().display(),
            format::count(data.train().n_tokens()),
            format::count(data.validation().n_tokens()),
            data.tokenizer().name(),
            format::count(data.tokenizer().vocab_size()),
        );
        Ok(ExitCode::SUCCESS)
    }
}
