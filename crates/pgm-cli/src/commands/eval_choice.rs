use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use pgm_eval::{
    ChoiceEvaluation, ChoiceReport, Estimate, EvalError, LikelihoodKind, QuestionFile, QuestionKind,
};
use pgm_model::LanguageModel;
use pgm_train::control_flow;
use serde_json::json;

use super::results_folder::{open_results, results_folder};
use super::run_args::RunArgs;
use crate::device::{self, Backend};
use crate::progress::Stage;
use crate::{format, interrupt};

const AFTER_HELP: &str = "\
Examples:
  pgm eval-choice --questions arc.jsonl --run runs/owt-pgm
  pgm eval-choice --questions samples_lambada_openai_2026-01-01.jsonl --draws 128 --json
  pgm eval-choice --questions samples_arc_easy_2026-01-01.jsonl --likelihood published --draws 1024

Lines of a file:
  {\"context\": \"The sky is\", \"choices\": [\"blue\", \"green\"], \"answer\": 0}        or [0, 2], if several are right
  {\"context\": \"Call me\", \"target\": \"Ishmael\"}          the last word
  {\"text\": \"Call me Ishmael\"}                            the same
  or what lm-evaluation-harness writes with --log_samples (samples_*.jsonl), of tasks that compare likelihoods.
A space is put between context and answer where there is none. Results are written down question by question; the
same command goes on where it was stopped, and with a larger --n it answers only the new ones.";

/// Share of questions that a model answers rightly: multiple choice, and last words (LAMBADA)
///
/// The model's answer is the one with the highest likelihood given the context; divided by its bytes for the
/// normalised accuracy. For diffusion models (PGM, MDLM) that is a bound by Monte Carlo over which tokens of the answer
/// are hidden, while the context is always known; for autoregressive models it is exact. Last words count if greedy
/// decoding from left to right gives them. Where several answers are right (TruthfulQA's mc2), their probability together
/// is reported, too.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct EvalChoiceArgs {
    /// File with a question in each line
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    #[command(flatten)]
    model: RunArgs,
    /// What answers are compared by
    #[arg(long, value_enum, default_value_t)]
    likelihood: LikelihoodArg,
    /// Sets of hidden tokens drawn for each answer of a diffusion model; published figures have 1024
    #[arg(long, default_value_t = 32)]
    draws: usize,
    /// Questions to answer, from the first [default: all]
    #[arg(long)]
    n: Option<usize>,
    /// Most tokens of BOS, context and answer; longer contexts lose their beginning [default: as trained]
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,
    /// Sequences that go through the network at once
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Folder for what the model says to each question [default: `choices` in the run's folder, or beside --weights, or in `runs/hub`]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// What to compute on [default: the fastest in this binary]
    #[arg(long)]
    backend: Option<Backend>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LikelihoodArg {
    /// Of the answer given its context
    #[default]
    Conditional,
    /// As PGM's code has it, for its paper's table: of BOS, context, answer and EOS, all of them hidden alike, by the token;
    /// a last word counts if all its tokens are the likeliest at once. Not for autoregressive models
    Published,
}

impl From<LikelihoodArg> for LikelihoodKind {
    fn from(likelihood: LikelihoodArg) -> Self {
        match likelihood {
            LikelihoodArg::Conditional => Self::Conditional,
            LikelihoodArg::Published => Self::Published,
        }
    }
}

impl EvalChoiceArgs {
    pub fn run(mut self) -> Result<ExitCode> {
        let file = QuestionFile::read(&self.questions)?;
        let available = file.questions().len();
        let n_questions = self.n.unwrap_or(available);
        if n_questions > available {
            bail!(
                "--n is {n_questions}, `{}` holds {available} questions",
                self.questions.display()
            );
        }
        self.model.locate()?;
        let device = device::open(self.backend)?;
        let run = self.model.load(&device)?;
        let n_draws = match run.model.network {
            LanguageModel::Causal(_) => 0,
            _ => self.draws,
        };
        let evaluation = ChoiceEvaluation {
            n_questions,
            likelihood: self.likelihood.into(),
            n_draws: self.draws,
            batch_size: self.batch_size,
            max_length: self.max_length.unwrap_or(run.config.data.seq_len),
            seed: self.seed,
            mask_token: run.model.mask_token,
        };
        let mut settings = self.model.settings(&run)?;
        settings["questions"] = json!(self.questions.display().to_string());
        settings["sha256"] = json!(file.fingerprint());
        settings["likelihood"] = json!(evaluation.likelihood.name());
        settings["n_draws"] = json!(n_draws);
        settings["max_length"] = json!(evaluation.max_length);
        settings["seed"] = json!(self.seed);
        let usual = self.model.output_folder().join("choices");
        let folder = results_folder(self.results.as_deref(), usual)?;
        let mut results = open_results(&folder, &settings, "questions answered")?;
        let interrupter = interrupt::graceful("stopping after these questions, which are kept")?;
        let mut stage = Stage::new("answer", n_questions);
        let answered = evaluation.answer(
            &run.model.network,
            &run.model.tokenizer,
            &file,
            &device,
            &mut results,
            &mut |done, total| {
                stage.update(done, total, "questions");
                control_flow(&interrupter)
            },
        );
        drop(stage);
        if let Err(EvalError::Interrupted) = answered {
            let n_done = results.samples().len();
            return Ok(interrupt::stopped(n_done, n_questions, "questions"));
        }
        answered?;
        let report = ChoiceReport::from_answers(&results.samples()[..n_questions], n_draws);
        if self.json {
            let results = results.path().display().to_string();
            println!(
                "{}",
                json!({ "report": report, "settings": settings, "results": results })
            );
        } else {
            print_report(&report, file.kind(), evaluation.likelihood);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_report(report: &ChoiceReport, kind: QuestionKind, likelihood: LikelihoodKind) {
    let percent = |name: &str, estimate: Option<Estimate>| {
        if let Some(Estimate {
            value,
            standard_error,
        }) = estimate
        {
            let error = standard_error.map(|error| format!(" ± {:.2}", 100.0 * error));
            println!("{name} {:.2}{} %", 100.0 * value, error.unwrap_or_default());
        }
    };
    percent("probability of the right answers", report.right_probability);
    percent("accuracy", report.accuracy);
    percent("accuracy, normalised by bytes", report.normalized_accuracy);
    percent("greedy accuracy", report.greedy_accuracy);
    if kind == QuestionKind::LastWord {
        println!("perplexity of a last word {:.2}", report.answer_perplexity);
    }
    let unit = match likelihood {
        LikelihoodKind::Conditional => "nats",
        LikelihoodKind::Published => {
            println!("likelihoods of context, answer and EOS together, by the token, as published");
            "nats a token"
        }
    };
    match (report.n_draws, report.monte_carlo_error) {
        (0, _) => println!("likelihoods are exact"),
        (_, None) => println!("1 draw for each answer: how much another would differ is not known"),
        (n_draws, Some(error)) => {
            print!(
                "{n_draws} draws for each answer: log-likelihoods within {error:.3} {unit} (standard error)"
            );
            if let Some(undecided) = report.undecided {
                print!(", {:.1} % of the questions undecided", 100.0 * undecided);
            }
            println!();
        }
    }
    println!(
        "{} questions, {} sequences through the network, {}",
        format::count(report.n_questions),
        format::count(report.network_evaluations),
        format::duration(std::time::Duration::from_secs_f64(report.seconds)),
    );
}
