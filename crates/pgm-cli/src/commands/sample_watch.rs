use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_train::Interrupter;
use clap::Args;
use pgm_data::Tokenizer;
use pgm_generation::{Context, GenerationProgress, Generator, RevealPicture};

use crate::interrupt;
use crate::live_text::LiveText;
use crate::progress::Stage;

/// What is shown of the drawing itself.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Show on stderr how the first text of each batch is filled in, even if that or stdout is no terminal
    /// [default: if both are, without --json]
    #[arg(long, conflicts_with = "no_watch")]
    watch: bool,
    /// Show the number of steps only
    #[arg(long)]
    no_watch: bool,
    /// Draw the first text at steps 1, 4, 16, ... and the last one into this SVG file
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

impl WatchArgs {
    /// # Errors
    /// When the picture would have no place; said before the work.
    pub fn check(&self) -> Result<()> {
        let Some(path) = &self.picture else {
            return Ok(());
        };
        if path.is_dir() || path.file_name().is_none() {
            bail!(
                "--picture `{}` is a folder; name a file in it, such as picture.svg",
                path.display()
            );
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        if !folder.as_os_str().is_empty() && !folder.is_dir() {
            bail!(
                "--picture `{}`: there is no folder `{}`; make it first",
                path.display(),
                folder.display()
            );
        }
        Ok(())
    }

    /// Shows what is drawn for the contexts, until [`Watcher::close`]; Ctrl-C stops it within a step.
    pub fn open<'a>(
        &self,
        generator: &Generator,
        tokenizer: &'a Tokenizer,
        contexts: &'a [Context],
        is_json: bool,
    ) -> Result<Watcher<'a>> {
        let is_watched = self.watch || !self.no_watch && !is_json && is_on_terminal();
        let display = if is_watched {
            Display::Live(LiveText::new(tokenizer, contexts, generator.eos_token))
        } else {
            Display::Steps(Stage::new("sample", generator.settings.n_steps))
        };
        let picture = self.picture.clone().zip(contexts.first());
        Ok(Watcher {
            interrupter: interrupt::quiet()?,
            display,
            picture: picture.map(|(path, context)| (path, RevealPicture::new(context.clone()))),
            tokenizer,
        })
    }
}

/// Whether text is read where it is printed, on a terminal with a cursor.
fn is_on_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal() && !is_dumb
}

enum Display<'a> {
    Live(LiveText<'a>),
    Steps(Stage),
}

/// Hears of every step.
pub struct Watcher<'a> {
    display: Display<'a>,
    picture: Option<(PathBuf, RevealPicture)>,
    tokenizer: &'a Tokenizer,
    interrupter: Interrupter,
}

impl Watcher<'_> {
    /// Shows and notes a step; stops the work after Ctrl-C.
    pub fn hear(&mut self, progress: &GenerationProgress) -> ControlFlow<()> {
        match &mut self.display {
            Display::Live(text) => text.hear(progress),
            Display::Steps(_) if progress.n_done() == 0 => {}
            Display::Steps(stage) => {
                stage.update(progress.n_done(), progress.n_steps(), "steps");
            }
        }
        if let Some((_, picture)) = &mut self.picture {
            picture.hear(progress);
        }
        pgm_train::control_flow(&self.interrupter)
    }

    /// Gives the terminal back, and writes the picture of the first sequence if one was asked for.
    ///
    /// # Errors
    /// When the picture cannot be written.
    pub fn close(self, sequences: &[Vec<u32>]) -> Result<()> {
        drop(self.display);
        if let (Some((path, picture)), Some(sequence)) = (self.picture, sequences.first()) {
            let svg = picture.svg(self.tokenizer, sequence)?;
            pgm_data::write_file(&path, svg.as_bytes())?;
            eprintln!("picture: {}", path.display());
        }
        Ok(())
    }
}
