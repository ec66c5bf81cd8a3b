use discrete_diffusion::objectives::AnswerDraw;
use discrete_diffusion::{NoiseSchedule, NoiseTime, draw_hidden, time_sampler};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Over which diffusion times the nats of a diffusion model are integrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvaluationTimes {
    /// As published: times in `[1e-3, 1]`, with hidden tokens at the rate of a schedule that ends at 0.999.
    ///
    /// No upper bound of the negative log-likelihood: where no token depends on the others, a thousandth of the nats is
    /// missing.
    #[default]
    Published,
    /// All of `(0, 1]`, of a schedule from 0 to 1: an upper bound.
    ///
    /// The integral over the time is done, not drawn: at a time `t` a token is hidden with probability `t` and counts with
    /// weight `1 / t`, which together give a set of `n` hidden tokens out of `L` the weight `L / n`, with `n` uniform in
    /// `1..=L`. Numbers of hidden tokens are spread evenly over the draws, and no weight depends on how many tokens a
    /// draw happened to hide. It is also the mean over all orders in which the tokens can be revealed one by one.
    ///
    /// # Reference
    /// K. Zheng and others: Masked Diffusion Models are Secretly Time-Agnostic Masked Models. arXiv 2409.02908.
    Full,
}

impl EvaluationTimes {
    /// What is hidden in a sequence in one of its draws, row position by row position, with the time whose weight the
    /// hidden tokens have.
    pub(crate) fn draw(
        self,
        seq_len: usize,
        draw: usize,
        n_draws: usize,
        rng: &mut impl Rng,
    ) -> (Vec<bool>, NoiseTime) {
        match self {
            Self::Published => {
                let time = time_sampler::stratified(draw, n_draws, rng);
                (draw_hidden(seq_len, time, rng), time)
            }
            Self::Full => {
                // The whole row is the answer, to no question.
                let drawn = AnswerDraw::stratified(seq_len, draw, n_draws, rng);
                let mut hidden = vec![false; seq_len];
                for position in &drawn.hidden {
                    hidden[*position] = true;
                }
                let share = drawn.hidden.len() as f64 / seq_len as f64;
                (hidden, NoiseSchedule::default().time(share))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use discrete_diffusion::random_streams::{Stream, stream};

    use super::*;

    #[test]
    fn a_full_draw_weighs_a_token_with_the_inverse_of_the_hidden_share() {
        let mut rng = stream(0, Stream::Evaluation, 0);
        let schedule = NoiseSchedule::default();
        let mut counts = [0; 5];
        for draw in 0..20 {
            let (hidden, time) = EvaluationTimes::Full.draw(4, draw, 20, &mut rng);
            let n_hidden = hidden.iter().filter(|&&hidden| hidden).count();
            counts[n_hidden] += 1;
            let weight = schedule.elbo_weight(time);
            assert!((weight - 4.0 / n_hidden as f64).abs() < 1e-12, "{weight}");
        }
        assert_eq!(counts, [0, 5, 5, 5, 5]);
    }

    #[test]
    fn published_times_stay_above_a_thousandth() {
        let mut rng = stream(0, Stream::Evaluation, 0);
        for draw in 0..50 {
            let (_, time) = EvaluationTimes::Published.draw(4, draw, 50, &mut rng);
            let least = 1e-3 + 0.999 * draw as f64 / 50.0;
            assert!(time.t >= least && time.t <= least + 0.02, "{time:?}");
        }
    }
}
