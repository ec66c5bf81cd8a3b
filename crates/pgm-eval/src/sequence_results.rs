use pgm_perplexity::{PerplexityError, ScoredSequence, SequenceScores};

use crate::{NumberedResult, ResultsFile};

impl NumberedResult for ScoredSequence {
    fn number(&self) -> usize {
        self.number
    }
}

impl SequenceScores for ResultsFile<ScoredSequence> {
    fn scored(&self) -> &[ScoredSequence] {
        self.samples()
    }

    fn append(&mut self, sequences: Vec<ScoredSequence>) -> Result<(), PerplexityError> {
        ResultsFile::append(self, sequences)
            .map_err(|error| PerplexityError::Scores(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use burn::data::dataset::InMemDataset;
    use burn::tensor::Device;
    use pgm_data::TokenSequence;
    use pgm_perplexity::{EvaluationTimes, Perplexity};
    use serde_json::json;

    use super::*;
    use crate::choice::test_models::golden;

    /// Seven sequences of 12 tokens, of which the last one or two do not count.
    fn data() -> InMemDataset<TokenSequence> {
        let sequence = |i: usize| TokenSequence {
            tokens: (0..12).map(|j| (i * i + 17 * j) as u32 % 100).collect(),
            valid: (0..12).map(|j| j < 10 + i % 2).collect(),
        };
        InMemDataset::new((0..7).map(sequence).collect())
    }

    fn perplexity(batch_size: usize, n_sequences: Option<usize>) -> Perplexity {
        Perplexity {
            n_sequences,
            n_draws: 3,
            times: EvaluationTimes::Published,
            batch_size,
            seed: 5,
            mask_token: 100,
        }
    }

    #[test]
    fn an_estimate_that_was_cut_gives_the_same_numbers() {
        let model = golden("weights_pgm_linear_n025.safetensors");
        let folder = tempfile::tempdir().unwrap();
        let settings = json!({"seed": 5});
        let go_on = |name: &str, batch_size, n_sequences, n_batches| {
            let path = folder.path().join(name);
            let mut scores = ResultsFile::<ScoredSequence>::open(&path, &settings).unwrap();
            let mut left = n_batches;
            let result = perplexity(batch_size, n_sequences).estimate(
                &model,
                &data(),
                &Device::flex(),
                &mut scores,
                &mut |_, _| {
                    left -= 1;
                    if left > 0 {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                },
            );
            (result, scores.samples().to_vec())
        };
        let (whole, scores) = go_on("whole", 2, None, 100);
        let whole = whole.unwrap();
        // Interrupted after two batches, and again after one.
        let (stopped, first) = go_on("stopped", 2, None, 2);
        assert!(matches!(stopped, Err(PerplexityError::Interrupted)));
        assert_eq!(first, scores[..4]);
        let (stopped, more) = go_on("stopped", 2, None, 1);
        assert!(matches!(stopped, Err(PerplexityError::Interrupted)));
        assert_eq!(more, scores[..6]);
        let (rest, all) = go_on("stopped", 2, None, 1);
        assert_eq!((rest.unwrap(), all), (whole, scores.clone()));
        // Fewer sequences first, with another batch size: the same but for rounding.
        let (few, first) = go_on("few", 3, Some(5), 100);
        assert_eq!((few.unwrap().n_sequences, first.len()), (5, 5));
        let (all, of_both) = go_on("few", 2, None, 100);
        assert!((all.unwrap().nll / whole.nll - 1.0).abs() < 1e-5);
        assert_eq!(of_both[..5], first);
        // Nothing is left to do, for fewer sequences neither.
        assert_eq!(go_on("whole", 2, None, 1).0.unwrap(), whole);
        let (few, _) = go_on("whole", 2, Some(5), 1);
        assert_eq!(few.unwrap().n_sequences, 5);
    }
}
