use pgm_train::{StartingWeightsError, TrainError};

/// An error with its causes, each said once: many texts hold that of their cause already. The options that help come
/// last.
pub fn error_text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let cause = cause.trim_end();
        if text.contains(cause) {
            continue;
        }
        if !text.is_empty() {
            text += ": ";
        }
        text += cause;
    }
    let train_error = error.chain().find_map(|cause| cause.downcast_ref());
    text + train_error.map_or("", way_out)
}

/// The options of the command line that help, as the end of the error's text.
fn way_out(error: &TrainError) -> &'static str {
    match error {
        TrainError::OtherRun { .. }
        | TrainError::StartingWeights(
            StartingWeightsError::Other { .. } | StartingWeightsError::Random { .. },
        ) => "; choose another folder with --output, or start it anew with --restart",
        TrainError::InUse { .. } => ", or choose another folder with --output",
        TrainError::OtherData { .. } | TrainError::OtherTokenizer { .. } => {
            ", or start the run anew with --restart"
        }
        TrainError::StartingWeights(StartingWeightsError::Changed { .. }) => {
            ", or start it anew with --restart"
        }
        TrainError::StartingWeights(StartingWeightsError::Missing { .. }) => {
            "; name them again with --from, or start it anew with --restart"
        }
        TrainError::OtherFormat { .. } => ", or train anew with --restart",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use pgm_train::ExperimentConfig;

    use super::*;

    #[test]
    fn a_reason_is_said_once() {
        let io = || std::io::Error::from(std::io::ErrorKind::NotFound);
        // The text holds its source's.
        let judge = pgm_eval::JudgeError::File {
            path: "judge".into(),
            reason: io(),
        };
        let text = error_text(&anyhow::Error::from(judge).context("in the judge"));
        assert_eq!(text.matches(&io().to_string()).count(), 1, "{text}");
        assert!(text.starts_with("in the judge: cannot read"), "{text}");

        let toml = "name = \"x\"\n[data]\ninputs = []\ntokenizer = \"gpt2\"\nseq_len = 8\n[model]\nn_heads = 7";
        let refused: Result<_, TrainError> = ExperimentConfig::from_toml(toml, &[]);
        let text = error_text(&refused.context("in a file").unwrap_err());
        assert_eq!(text.matches("`n_heads` 7").count(), 1, "{text}");
    }

    #[test]
    fn options_that_help_come_last() {
        let other = TrainError::OtherRun {
            path: "runs/a".into(),
            key: "seed".into(),
        };
        let other = error_text(&anyhow::Error::from(other).context("cannot train"));
        assert_eq!(
            other,
            "cannot train: `runs/a` holds a run with another configuration (`seed` differs); choose another folder \
             with --output, or start it anew with --restart"
        );
        let path = || "runs/a".into();
        let wanted = || "`b`".to_owned();
        let started = |error: StartingWeightsError| TrainError::from(error);
        for (error, end) in [
            (
                started(StartingWeightsError::Missing {
                    path: path(),
                    wanted: wanted(),
                }),
                "yet; name them again with --from, or start it anew with --restart",
            ),
            (
                started(StartingWeightsError::Random {
                    path: path(),
                    wanted: wanted(),
                }),
                "`b`; choose another folder with --output, or start it anew with --restart",
            ),
            (
                started(StartingWeightsError::Changed {
                    path: path(),
                    weights: wanted(),
                    then: "00".to_owned(),
                    now: "11".to_owned(),
                }),
                "bring them back, or start it anew with --restart",
            ),
            (
                TrainError::OtherData {
                    data: path(),
                    path: path(),
                },
                "bring the text back, or start the run anew with --restart",
            ),
            (
                TrainError::OtherFormat {
                    path: path(),
                    found: 1,
                    readable: 2,
                },
                "of the run), or train anew with --restart",
            ),
        ] {
            let text = error_text(&error.into());
            assert!(text.ends_with(end), "{text}");
        }
    }

    #[test]
    fn causes_that_say_more_are_kept() {
        let error = anyhow::anyhow!("no route").context("cannot ask the hub");
        assert_eq!(error_text(&error), "cannot ask the hub: no route");
    }
}
