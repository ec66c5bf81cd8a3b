use serde::Serialize;

use super::evaluation::AnsweredQuestion;
use crate::Estimate;

/// Standard errors between two likelihoods below which a decision may be the draws' own.
const SURE: f64 = 2.0;

/// How well a model answers questions. Standard errors are over questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChoiceReport {
    /// Questions answered.
    pub n_questions: usize,
    /// Probability of the right answers together among all answers, mean over questions, where a question has several
    /// right ones: TruthfulQA's mc2. For diffusion models of estimated bounds.
    pub right_probability: Option<Estimate>,
    /// Share of questions whose likeliest answer is right; none for last words.
    pub accuracy: Option<Estimate>,
    /// The same with log-likelihoods divided by the bytes of the answer.
    pub normalized_accuracy: Option<Estimate>,
    /// Share of last words that greedy decoding from left to right gives; none where there are choices.
    pub greedy_accuracy: Option<Estimate>,
    /// `exp` of the mean nats of a right answer; of several ones, of the probability of all.
    pub answer_perplexity: f64,
    /// Draws for each answer; 0 means that likelihoods are exact.
    pub n_draws: usize,
    /// Root mean square over answers of the standard error of a log-likelihood over its draws, in nats; none after
    /// single draws.
    pub monte_carlo_error: Option<f64>,
    /// Share of questions whose two likeliest answers are closer than two standard errors of their difference, so
    /// that other draws might decide otherwise; none after single draws, and for last words.
    pub undecided: Option<f64>,
    /// Sequences that went through the network.
    pub network_evaluations: usize,
    /// Time of all answers.
    pub seconds: f64,
}

impl ChoiceReport {
    /// Of answered questions; `n_draws` is 0 for autoregressive models.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn from_answers(answered: &[AnsweredQuestion], n_draws: usize) -> Self {
        assert!(!answered.is_empty(), "nothing was answered");
        let is_last_word = answered[0].is_greedy.is_some();
        let normalised = |answered: &AnsweredQuestion| {
            let answers = answered.log_likelihoods.iter().zip(&answered.n_bytes);
            let rates: Vec<f64> = answers.map(|(nats, &bytes)| nats / bytes as f64).collect();
            likeliest(&rates)
        };
        let right: Vec<bool> = answered
            .iter()
            .map(|a| a.right.contains(&likeliest(&a.log_likelihoods)))
            .collect();
        let right_normalised: Vec<bool> = answered
            .iter()
            .map(|a| a.right.contains(&normalised(a)))
            .collect();
        let has_several = answered.iter().any(|a| a.right.len() > 1);
        let right_probabilities = answered.iter().map(|a| {
            let all = log_sum_exp(a.log_likelihoods.iter().copied());
            (right_log_likelihood(a) - all).exp()
        });
        let greedy: Option<Vec<bool>> = answered.iter().map(|a| a.is_greedy).collect();
        let nats = answered.iter().map(|a| -right_log_likelihood(a));
        let n = answered.len() as f64;
        let errors: Option<Vec<f64>> = answered
            .iter()
            .flat_map(|a| a.standard_errors.iter().copied())
            .collect();
        let undecided = answered
            .iter()
            .map(is_undecided)
            .collect::<Option<Vec<bool>>>();
        Self {
            n_questions: answered.len(),
            right_probability: has_several.then(|| mean(&right_probabilities.collect::<Vec<_>>())),
            accuracy: (!is_last_word).then(|| share(&right)),
            normalized_accuracy: (!is_last_word).then(|| share(&right_normalised)),
            greedy_accuracy: greedy.map(|greedy| share(&greedy)),
            answer_perplexity: (nats.sum::<f64>() / n).exp(),
            n_draws,
            monte_carlo_error: errors.map(|errors| {
                let squares: f64 = errors.iter().map(|error| error * error).sum();
                (squares / errors.len() as f64).sqrt()
            }),
            undecided: undecided
                .filter(|_| !is_last_word)
                .map(|undecided| share(&undecided).value),
            network_evaluations: answered.iter().map(|a| a.network_evaluations).sum(),
            seconds: answered.iter().map(|a| a.seconds).sum(),
        }
    }
}

/// The first of the largest.
fn likeliest(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

/// Of all right answers together.
fn right_log_likelihood(answered: &AnsweredQuestion) -> f64 {
    log_sum_exp(answered.right.iter().map(|&i| answered.log_likelihoods[i]))
}

/// `ln` of the sum of `exp`.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest
        + values
            .map(|value| (value - largest).exp())
            .sum::<f64>()
            .ln()
}

/// Whether a right answer and a wrong one, or two wrong ones, lie close; none if an error is not known.
fn is_undecided(answered: &AnsweredQuestion) -> Option<bool> {
    let best = likeliest(&answered.log_likelihoods);
    let error = answered.standard_errors[best]?;
    let mut is_close = false;
    for (i, value) in answered.log_likelihoods.iter().enumerate() {
        let other = answered.standard_errors[i]?;
        let gap = answered.log_likelihoods[best] - value;
        let is_alike = i == best || [i, best].iter().all(|i| answered.right.contains(i));
        is_close |= !is_alike && gap < SURE * error.hypot(other);
    }
    Some(is_close)
}

/// The share of what is true.
fn share(flags: &[bool]) -> Estimate {
    let values: Vec<f64> = flags
        .iter()
        .map(|&flag| f64::from(u8::from(flag)))
        .collect();
    mean(&values)
}

/// A mean with its standard error; `sqrt(p (1 - p) / (n - 1))` for a share.
fn mean(values: &[f64]) -> Estimate {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Estimate {
        value: mean,
        standard_error: (values.len() > 1).then(|| (squares / n / (n - 1.0)).sqrt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(log_likelihoods: [f64; 2], errors: Option<f64>, right: usize) -> AnsweredQuestion {
        AnsweredQuestion {
            number: 0,
            log_likelihoods: log_likelihoods.to_vec(),
            standard_errors: vec![errors; 2],
            n_bytes: vec![2, 8],
            right: vec![right],
            is_greedy: None,
            network_evaluations: 4,
            seconds: 0.5,
        }
    }

    #[test]
    fn shares_are_counted_with_and_without_the_length() {
        let report = ChoiceReport::from_answers(
            &[
                // Right; by the byte -1 and -0.375, wrong. Far apart.
                answered([-2.0, -3.0], Some(0.1), 0),
                // Wrong; by the byte -2 and -0.5125, right. Within 2 x 0.1 x sqrt(2) nats.
                answered([-4.0, -4.1], Some(0.1), 1),
                answered([-4.0, -2.0], Some(0.1), 1),
                answered([-6.0, -2.0], Some(0.1), 1),
            ],
            2,
        );
        let accuracy = report.accuracy.unwrap();
        assert_eq!(accuracy.value, 0.75);
        // sqrt(0.75 x 0.25 / 3)
        assert!((accuracy.standard_error.unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(report.normalized_accuracy.unwrap().value, 0.75);
        assert_eq!(report.undecided, Some(0.25));
        assert!((report.monte_carlo_error.unwrap() - 0.1).abs() < 1e-12);
        // (2 + 4.1 + 2 + 2) / 4
        assert!((report.answer_perplexity.ln() - 2.525).abs() < 1e-12);
        assert_eq!((report.network_evaluations, report.seconds), (16, 2.0));
        assert_eq!(report.greedy_accuracy, None);
        assert_eq!(report.right_probability, None);
    }

    #[test]
    fn several_right_answers_have_their_probability_together() {
        let with = |probabilities: [f64; 4], right: &[usize]| AnsweredQuestion {
            // Answers are all a question has: what they sum to does not matter.
            log_likelihoods: probabilities.map(|p| (p * 1e-300).ln() - 2000.0).to_vec(),
            standard_errors: vec![Some(0.01); 4],
            n_bytes: vec![4; 4],
            right: right.to_vec(),
            ..answered([0.0; 2], None, 0)
        };
        let report = ChoiceReport::from_answers(
            &[
                // 0.3 + 0.2; the likeliest is wrong.
                with([0.3, 0.2, 0.4, 0.1], &[0, 1]),
                // 0.45 + 0.45; right, and close to another right one.
                with([0.05, 0.45, 0.05, 0.45], &[1, 3]),
                // A single right one beside them.
                with([0.4, 0.3, 0.2, 0.1], &[3]),
            ],
            2,
        );
        let probability = report.right_probability.unwrap();
        // (0.5 + 0.9 + 0.1) / 3; deviations 0, 0.4, -0.4
        assert!((probability.value - 0.5).abs() < 1e-9, "{probability:?}");
        let error = (0.32f64 / 3.0 / 2.0).sqrt();
        assert!((probability.standard_error.unwrap() - error).abs() < 1e-9);
        assert!((report.accuracy.unwrap().value - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(report.undecided, Some(0.0));
    }

    #[test]
    fn single_draws_have_no_error() {
        let report = ChoiceReport::from_answers(&[answered([-1.0, -2.0], None, 0)], 1);
        assert_eq!((report.monte_carlo_error, report.undecided), (None, None));
        assert_eq!(report.accuracy.unwrap().standard_error, None);
    }
}
