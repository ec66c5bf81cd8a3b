/// An error with its causes, each said once: many texts hold that of their cause already.
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
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use pgm_train::{ExperimentConfig, TrainError};

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
    fn causes_that_say_more_are_kept() {
        let error = anyhow::anyhow!("no route").context("cannot ask the hub");
        assert_eq!(error_text(&error), "cannot ask the hub: no route");
    }
}
