use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::Args;
use pgm_data::{SpecialTokenChoice, TokenRole, Tokenizer, TokenizerSpec};
use pgm_eval::Judge;
use pgm_judges::JudgeDescription;
use pgm_model::LanguageModelConfig;
use pgm_model::cost::{CostReport, TrainingSettings};
use pgm_train::{
    CheckpointChoice, ExperimentConfig, ObjectiveKind, RunFolder, WeightsChoice, WeightsNote,
    vocabulary,
};
use pgm_weights::{WeightsFile, WeightsSource};
use serde_json::json;

use super::config_args::ConfigArgs;
use super::cost_table::CostTable;
use crate::{format, model_name};

const AFTER_HELP: &str = "\
Examples:
  pgm info configs/owt-pgm-8-8.toml        what a run costs before it is started
  pgm info runs/quickstart-pgm --json      a run, for another program
  pgm info pretrained                      the model that comes with the project
  pgm info pgm_8_8.ckpt                    the network of a file with weights
  pgm info models/gpt2                     a judge: its size and its special tokens
  pgm info tokenizer.json                  a tokenizer: its special tokens, and what says so

Operations are those of matrix products and attention, a multiply-add being 2; attention counts
the keys that are read. Memory is for float32; activations are estimates. docs/cost.md has the
formulas.";

/// Parameters, arithmetic and memory of a configuration, a run or a file with weights; special tokens, also of a
/// judge or a tokenizer
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct InfoArgs {
    /// A configuration (.toml), the folder of a run, `pretrained`, a file with weights (with `hub:` in front
    /// one of the Hugging Face hub), the folder or .gguf file of a judge, or a tokenizer (.json); the quick start's
    /// configuration if left out
    #[arg(
        value_name = "CONFIG, RUN, WEIGHTS, JUDGE or TOKENIZER",
        conflicts_with = "config"
    )]
    input: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Attention heads of a file with weights, if not 64 features each
    #[arg(long, value_name = "N")]
    n_heads: Option<usize>,
    /// Tokens of a sequence [default: the configuration's, or what a file with weights says, or 1024]
    #[arg(long, value_name = "TOKENS")]
    length: Option<usize>,
    /// Sampling steps [default: the configuration's, or what a file with weights says, or 128]
    #[arg(long)]
    steps: Option<usize>,
    /// Sequences drawn at once
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What is described.
struct Subject {
    facts: Facts,
    network: LanguageModelConfig,
    /// How it is or was trained, if that is known.
    experiment: Option<ExperimentConfig>,
    /// What a file with weights says of its run.
    note: Option<WeightsNote>,
}

/// Lines of name and value, in their order.
type Facts = Vec<(&'static str, String)>;

impl InfoArgs {
    pub fn run(self) -> Result<ExitCode> {
        if let Some(facts) = self.input.as_deref().and_then(facts_alone).transpose()? {
            return self.print_facts(facts);
        }
        let subject = self.subject()?;
        let experiment = subject.experiment.as_ref();
        let note = subject.note.as_ref();
        let report = CostReport::new(
            &subject.network,
            self.length
                .or(experiment.map(|config| config.data.seq_len))
                .or(note.map(|note| note.seq_len))
                .unwrap_or(1024),
            self.steps
                .or(experiment.map(|config| config.sampling.n_steps))
                .or(note.map(|note| note.sampling.n_steps))
                .unwrap_or(128),
            self.batch_size,
            experiment.map(|config| TrainingSettings {
                n_steps: config.training.n_steps,
                batch_size: config.training.batch_size,
                micro_batch_size: config.training.micro_batch_size(),
                has_average: config.optimizer.ema_decay > 0.0,
                // A mask and its complement: every sequence goes through the network twice.
                passes: match config.objective.kind {
                    ObjectiveKind::ComplementMdlm => 2,
                    _ => 1,
                },
            }),
        );
        if self.json {
            let object = json!({
                "subject": object_of(subject.facts),
                "network": subject.network,
                "cost": report,
                "configuration": subject.experiment,
            });
            println!("{}", serde_json::to_string_pretty(&object)?);
            return Ok(ExitCode::SUCCESS);
        }
        for (name, value) in &subject.facts {
            println!("{name:<24} {value}");
        }
        println!("{:<24} {}", "network", network_in_words(&subject.network));
        println!("\n{}", CostTable(&report));
        if let Some(config) = experiment {
            println!("\n{}", config.to_toml());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What has no costs of its own.
    fn print_facts(&self, facts: Facts) -> Result<ExitCode> {
        if self.config.is_given() || self.n_heads.is_some() {
            bail!("`--objective`, `--set` and `--n-heads` do not go with a judge or a tokenizer");
        }
        if self.json {
            let object = json!({ "subject": object_of(facts) });
            println!("{}", serde_json::to_string_pretty(&object)?);
            return Ok(ExitCode::SUCCESS);
        }
        for (name, value) in &facts {
            println!("{name:<24} {value}");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn subject(&self) -> Result<Subject> {
        let Some(path) = &self.input else {
            return of_config(self.config.load()?);
        };
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            return of_config(self.config.with_file(path).load()?);
        }
        if self.config.is_given() {
            bail!(
                "`--objective` and `--set` change a configuration, and `{}` is none",
                path.display()
            );
        }
        let path = model_name::weights(path)?.path;
        if path.is_dir() {
            of_run(&path)
        } else {
            of_weights(&path, self.n_heads)
        }
    }
}

fn object_of(facts: Facts) -> serde_json::Map<String, serde_json::Value> {
    let facts = facts.into_iter();
    facts
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

/// The facts of a judge or of a tokenizer, if the path is one.
fn facts_alone(path: &Path) -> Option<Result<Facts>> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let is_judge_folder = path.join("config.json").is_file() && !path.join("config.toml").exists();
    match ending {
        Some("json") if path.is_file() => Some(of_tokenizer(path)),
        Some("gguf") if path.is_file() => Some(of_judge(path)),
        _ => is_judge_folder.then(|| of_judge(path)),
    }
}

fn of_tokenizer(path: &Path) -> Result<Facts> {
    let tokenizer = Tokenizer::from_file(path)?;
    let mut facts = vec![
        ("tokenizer", path.display().to_string()),
        ("token ids", format::count(tokenizer.vocab_size())),
    ];
    facts.extend(special_tokens(&tokenizer));
    Ok(facts)
}

fn of_judge(path: &Path) -> Result<Facts> {
    let (description, tokenizer) = Judge::describe(path, &SpecialTokenChoice::default())?;
    let JudgeDescription {
        config,
        unknown_keys,
    } = description;
    let mut facts = vec![
        ("judge", path.display().to_string()),
        (
            "context",
            format!("{} tokens", format::count(config.context_length())),
        ),
        ("token ids", format::count(config.vocab_size())),
    ];
    facts.extend(special_tokens(&tokenizer));
    if !unknown_keys.is_empty() {
        facts.push(("unknown keys", unknown_keys.join(", ")));
    }
    Ok(facts)
}

/// The special tokens with what said so.
fn special_tokens(tokenizer: &Tokenizer) -> Facts {
    let tokens = tokenizer.special_tokens().iter();
    let facts = tokens.map(|(role, token)| {
        let name = match role {
            TokenRole::Bos => "BOS",
            TokenRole::Eos => "EOS",
            TokenRole::Mask => "MASK",
            TokenRole::Pad => "PAD",
        };
        (name, token.to_string())
    });
    facts.collect()
}

/// The same of a network that is trained with a tokenizer: it has a MASK in any case.
fn special_tokens_of_run(tokenizer: &Tokenizer) -> Facts {
    let mut facts = special_tokens(tokenizer);
    if tokenizer.mask_id().is_none() {
        let (_, mask) = vocabulary(tokenizer);
        facts.push(("MASK", format!("{mask}, behind the tokenizer's last")));
    }
    facts
}

fn of_config(config: ExperimentConfig) -> Result<Subject> {
    let mut facts = vec![
        ("configuration", config.name.clone()),
        ("objective", config.objective.kind.name().to_owned()),
    ];
    let tokenizer = config.data.tokenizer.open(&config.data.special_tokens)?;
    let vocab_size = match (&tokenizer, &config.data.tokenizer) {
        (Some(tokenizer), _) => {
            facts.extend(special_tokens_of_run(tokenizer));
            vocabulary(tokenizer).0
        }
        // Learned from the text: MASK is the id behind its last.
        (None, TokenizerSpec::Bpe { vocab_size }) => {
            facts.push(("MASK", format::count(*vocab_size)));
            vocab_size + 1
        }
        (None, _) => unreachable!("only a tokenizer that is learned is not there yet"),
    };
    Ok(Subject {
        facts,
        network: config.model.network(config.objective.kind, vocab_size),
        experiment: Some(config),
        note: None,
    })
}

fn of_run(path: &Path) -> Result<Subject> {
    let run =
        RunFolder::new(path).load(CheckpointChoice::Last, WeightsChoice::Raw, &Device::flex())?;
    let mut facts = vec![
        ("run", path.display().to_string()),
        (
            "checkpoint",
            format!("step {}", format::count(run.model.step)),
        ),
        ("objective", run.config.objective.kind.name().to_owned()),
        ("tokenizer", run.model.tokenizer.name().to_string()),
    ];
    facts.extend(special_tokens_of_run(&run.model.tokenizer));
    Ok(Subject {
        facts,
        network: run.model.network_config(),
        experiment: Some(run.config),
        note: None,
    })
}

fn of_weights(path: &Path, n_heads: Option<usize>) -> Result<Subject> {
    let file = WeightsFile::open(path, WeightsChoice::Average)?;
    let names = if file.is_published() {
        "the authors'"
    } else {
        "this program's"
    };
    let sets = match file.source() {
        WeightsSource::Only => "one set",
        WeightsSource::Average | WeightsSource::Raw => "raw and averaged",
    };
    let heads = match (file.has_sizes(), n_heads) {
        (true, None) => "as the file says",
        (_, Some(_)) => "as told",
        (false, None) => "taken as 64 features each, as published",
    };
    let note = WeightsNote::read(&file)?;
    let mut facts = vec![
        ("weights", path.display().to_string()),
        ("sets of weights", sets.to_owned()),
        ("names", names.to_owned()),
        ("heads", heads.to_owned()),
    ];
    if let Some(note) = &note {
        let (name, step) = (&note.name, format::count(note.step));
        let kind = note.objective.kind.name();
        facts.push(("run", format!("`{name}` ({kind}), step {step}")));
        let seq_len = format::count(note.seq_len);
        facts.push(("sequences", format!("{seq_len} tokens")));
        facts.push(("sampling", serde_json::to_string(&note.sampling)?));
    }
    Ok(Subject {
        facts,
        network: file.config(n_heads)?,
        experiment: None,
        note,
    })
}

fn network_in_words(config: &LanguageModelConfig) -> String {
    let (what, d_model, n_heads) = match config {
        LanguageModelConfig::Partition(c) => (
            format!(
                "partition transformer, {}/{} blocks",
                c.n_encoder_blocks, c.n_decoder_blocks
            ),
            c.d_model,
            c.n_heads,
        ),
        LanguageModelConfig::Masked(c) => {
            (format!("DiT, {} blocks", c.n_blocks), c.d_model, c.n_heads)
        }
        LanguageModelConfig::Causal(c) => (
            format!("causal DiT, {} blocks", c.n_blocks),
            c.d_model,
            c.n_heads,
        ),
    };
    let vocab_size = format::count(config.vocab_size());
    format!("{what}, width {d_model}, {n_heads} heads, {vocab_size} token ids")
}
