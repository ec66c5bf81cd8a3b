use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::row::shuffle_first;

/// Which positions are revealed first.
///
/// All but the random order look at the network's prediction of every hidden position of the block:
/// a PGM then has to predict all of them in each step. Probabilities are those at temperature 1 and
/// without MASK, before `top_k` and `top_p`, whatever tokens are drawn with: MaskGIT and LLaDA have
/// them so, while Dream (arXiv 2508.15487) takes all of its own behind temperature and cuts. Of equal
/// positions the left one comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevealOrder {
    /// All orders are equally likely.
    #[default]
    Random,
    /// A token is drawn for every hidden position; the largest probability of the drawn token first.
    /// Positions that are not revealed draw again in the next step.
    ///
    /// # Reference
    /// MaskGIT (arXiv 2202.04200), without its noise; LLaDA (arXiv 2502.09992), "low-confidence
    /// remasking".
    Confidence,
    /// The largest probability of the most likely token first, whichever token is drawn. At
    /// temperature 0, where that is the one drawn, the same as [`Confidence`](Self::Confidence).
    ///
    /// # Reference
    /// "Top probability" of Kim and others (arXiv 2502.06768), "confidence" of the EB-Sampler (arXiv
    /// 2505.24857).
    MaxProbability,
    /// The largest difference between the probabilities of the two most likely tokens first.
    ///
    /// # Reference
    /// "Top probability margin" of Kim and others (arXiv 2502.06768).
    Margin,
    /// The lowest entropy first.
    ///
    /// # Reference
    /// EB-Sampler (arXiv 2505.24857).
    Entropy,
}

/// What the choice of positions looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// Its number among the positions that were predicted, from the left.
    pub index: usize,
    /// The larger, the earlier.
    score: f64,
    /// Of the prediction, in nats.
    entropy: f64,
}

impl RevealOrder {
    /// Whether a position is rated by the token that it would get.
    pub(super) fn rates_drawn_tokens(self) -> bool {
        self == Self::Confidence
    }

    /// Rates a position by the probabilities of its tokens, and by the token that was drawn if the
    /// order [looks at it](Self::rates_drawn_tokens).
    pub(super) fn rate(self, index: usize, prediction: &[f64], drawn: Option<u32>) -> Candidate {
        let entropy = entropy(prediction);
        let score = match self {
            Self::Random => 0.0,
            Self::Confidence => {
                let token = drawn.expect("this order rates what was drawn");
                prediction[token as usize]
            }
            Self::MaxProbability => best_two(prediction).0,
            Self::Margin => {
                let (first, second) = best_two(prediction);
                first - second
            }
            Self::Entropy => -entropy,
        };
        Candidate {
            index,
            score,
            entropy,
        }
    }

    /// Puts candidates, which come from left to right, into the order in which they are revealed.
    pub(super) fn sort(self, candidates: &mut [Candidate], rng: &mut ChaCha8Rng) {
        match self {
            Self::Random => shuffle_first(candidates, candidates.len(), rng),
            _ => candidates.sort_by(|a, b| b.score.total_cmp(&a.score)),
        }
    }
}

/// How many of the first candidates keep the sum of entropies less the largest one within a bound;
/// at least 1.
pub(super) fn within_entropy(candidates: &[Candidate], bound: f64) -> usize {
    let (mut sum, mut largest) = (0.0, 0f64);
    let too_many = candidates.iter().position(|candidate| {
        sum += candidate.entropy;
        largest = largest.max(candidate.entropy);
        sum - largest > bound
    });
    too_many.unwrap_or(candidates.len()).max(1)
}

fn best_two(prediction: &[f64]) -> (f64, f64) {
    prediction.iter().fold((0.0, 0.0), |(first, second), &p| {
        if p > first {
            (p, first)
        } else {
            (first, second.max(p))
        }
    })
}

fn entropy(prediction: &[f64]) -> f64 {
    let summands = prediction.iter().filter(|&&p| p > 0.0);
    -summands.map(|p| p * p.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const A: [f64; 3] = [0.4, 0.35, 0.25];
    const B: [f64; 3] = [0.5, 0.5, 0.0];
    const C: [f64; 3] = [0.49, 0.26, 0.25];

    fn order(order: RevealOrder, drawn: [u32; 3]) -> Vec<usize> {
        let mut candidates: Vec<Candidate> = [A, B, C]
            .iter()
            .zip(drawn)
            .enumerate()
            .map(|(index, (prediction, token))| order.rate(index, prediction, Some(token)))
            .collect();
        order.sort(&mut candidates, &mut ChaCha8Rng::seed_from_u64(1));
        candidates.iter().map(|c| c.index).collect()
    }

    #[test]
    fn each_order_has_its_own_favourite() {
        // Largest probabilities 0.4, 0.5, 0.49; margins 0.05, 0, 0.23; entropies 1.08, 0.69, 1.05.
        assert_eq!(order(RevealOrder::MaxProbability, [0; 3]), [1, 2, 0]);
        assert_eq!(order(RevealOrder::Margin, [0; 3]), [2, 0, 1]);
        assert_eq!(order(RevealOrder::Entropy, [0; 3]), [1, 2, 0]);
    }

    #[test]
    fn confidence_is_the_probability_of_the_drawn_token() {
        // The most likely tokens: as the largest probability.
        assert_eq!(order(RevealOrder::Confidence, [0, 0, 0]), [1, 2, 0]);
        // 0.35, 0 and 0.26.
        assert_eq!(order(RevealOrder::Confidence, [1, 2, 1]), [0, 2, 1]);
        assert_eq!(order(RevealOrder::MaxProbability, [1, 2, 1]), [1, 2, 0]);
    }

    #[test]
    fn of_equal_positions_the_left_one_comes_first() {
        for order in [
            RevealOrder::Confidence,
            RevealOrder::MaxProbability,
            RevealOrder::Margin,
            RevealOrder::Entropy,
        ] {
            let mut candidates = [2, 5, 7].map(|index| order.rate(index, &A, Some(1)));
            order.sort(&mut candidates, &mut ChaCha8Rng::seed_from_u64(1));
            assert_eq!(candidates.map(|c| c.index), [2, 5, 7]);
        }
    }

    #[test]
    fn the_largest_entropy_does_not_count() {
        let candidates = [0.1, 0.2, 0.4].map(|entropy| Candidate {
            index: 0,
            score: 0.0,
            entropy,
        });
        // Sums less the largest: 0, 0.1, 0.3.
        assert_eq!(within_entropy(&candidates, 0.0), 1);
        assert_eq!(within_entropy(&candidates, 0.15), 2);
        assert_eq!(within_entropy(&candidates, 0.35), 3);
    }
}
