use pgm_train::{MethodRecord, MetricRecord};
use serde::{Deserialize, Serialize};

/// A stretch of a run in which a student learns from one teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Its number, from 1.
    pub round: usize,
    /// Optimizer steps done when it began.
    pub first_step: usize,
    /// Sampling steps of its teacher.
    pub teacher_sampling_steps: usize,
    /// Sampling steps in which its student is to do the same.
    pub student_sampling_steps: usize,
}

/// The end of a round: its line in `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Optimizer steps done.
    #[serde(skip_serializing)]
    pub step: usize,
    /// The round.
    #[serde(flatten)]
    pub round: Round,
    /// Mean loss of its steps.
    pub loss: f64,
}

impl RoundRecord {
    /// `kind` of the line.
    const KIND: &str = "round";

    /// A round that ends after `step` optimizer steps, whose losses are in `records` up to the last.
    pub(crate) fn new(step: usize, round: Round, records: &[MetricRecord]) -> Self {
        let mut sum = 0.0;
        let mut last = round.first_step;
        for record in records {
            if let &MetricRecord::Train { step, loss, .. } = record
                && step > last
            {
                sum += loss * (step - last) as f64;
                last = step;
            }
        }
        let loss = sum / (step - round.first_step).max(1) as f64;
        Self { step, round, loss }
    }

    /// The rounds among the lines of a run's metrics.
    pub fn list(records: &[MetricRecord]) -> Vec<Self> {
        let rounds = records.iter().filter_map(|record| match record {
            MetricRecord::Method(record) if record.kind == Self::KIND => record.values().ok(),
            _ => None,
        });
        rounds.collect()
    }

    pub(crate) fn to_metric(self) -> MethodRecord {
        MethodRecord::new(Self::KIND, self.step, &self)
    }
}

#[cfg(test)]
mod tests {
    use pgm_train::MetricsLog;

    use super::*;

    #[test]
    fn a_round_keeps_the_form_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let round = Round {
            round: 2,
            first_step: 4,
            teacher_sampling_steps: 8,
            student_sampling_steps: 4,
        };
        let train = |step, loss| MetricRecord::Train {
            step,
            loss,
            mean_weight: Some(1.0),
            learning_rate: 0.1,
            grad_norm: 1.0,
            tokens_per_second: 9.0,
            seconds: 1.0,
        };
        // Three steps of 0.5 and one of 2.5.
        let lines = [train(4, 100.0), train(7, 0.5), train(8, 2.5)];
        let record = RoundRecord::new(8, round, &lines);
        assert_eq!(record.loss, 1.0);
        let mut log = MetricsLog::open(&path, 0, false).unwrap();
        log.push(&MetricRecord::Method(record.to_metric())).unwrap();
        let line = "{\"kind\":\"round\",\"step\":8,\"round\":2,\"first_step\":4,\"teacher_sampling_steps\":8,\
                    \"student_sampling_steps\":4,\"loss\":1.0}\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line);
        MetricsLog::open(&path, 8, false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line);
        let records = MetricsLog::read(&path).unwrap();
        assert_eq!(RoundRecord::list(&records), [record]);
    }
}
