use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pgm_data::Tokenizer;
use pgm_generation::{Context, Template};

use crate::text_check::check_line;

/// What is known of the text to draw.
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// Continue this text
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["infill", "template"])]
    prompt: Option<String>,
    /// Fill in the blanks of this text: `___`, or `___:5` for 5 tokens
    #[arg(long, value_name = "TEXT", conflicts_with = "template")]
    infill: Option<String>,
    /// A file with a text to fill in on each line, as for --infill; empty lines are skipped
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

impl ContextArgs {
    /// What is known of each sequence: `n` times for every text.
    pub fn contexts(
        &self,
        tokenizer: &Tokenizer,
        seq_len: usize,
        n: usize,
    ) -> Result<Vec<Context>> {
        let bos = tokenizer.bos_id();
        if seq_len < 2 {
            bail!(
                "--length is {seq_len}; a sequence has at least 2 tokens, the first one being BOS"
            );
        }
        let fill = |text: &str| -> Result<Context> {
            check_line("the template", text, tokenizer)?;
            let encode = |text: &str| Ok(tokenizer.encode(text)?);
            Template::parse(text)?.context::<anyhow::Error>(bos, seq_len, encode)
        };
        let contexts = if let Some(prompt) = &self.prompt {
            check_line("the prompt", prompt, tokenizer)?;
            let tokens = tokenizer.encode(prompt)?;
            if tokens.len() + 2 > seq_len {
                bail!(
                    "the prompt has {} tokens with BOS, which leaves nothing to draw of {seq_len}; shorten it or raise --length",
                    tokens.len() + 1
                );
            }
            vec![Context::new(seq_len, bos).with_prompt(&tokens)?]
        } else if let Some(text) = &self.infill {
            vec![fill(text).context("in --infill")?]
        } else if let Some(path) = &self.template {
            let text = pgm_data::read_text(path)?;
            let lines = text.lines().enumerate();
            let contexts: Vec<Context> = lines
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(i, line)| {
                    fill(line).with_context(|| format!("`{}`, line {}", path.display(), i + 1))
                })
                .collect::<Result<_>>()?;
            if contexts.is_empty() {
                bail!("`{}` holds no template", path.display());
            }
            contexts
        } else {
            vec![Context::new(seq_len, bos)]
        };
        let repeat = |context: Context| std::iter::repeat_n(context, n);
        Ok(contexts.into_iter().flat_map(repeat).collect())
    }
}
