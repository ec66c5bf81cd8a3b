use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, RngExt};

use crate::{NoiseSchedule, NoiseTime, TokenBatch, Weighting};

/// A draw of what is hidden: MASK positions of an MDLM, group 1 of a PGM.
///
/// Weights come with [`Self::training`] or [`Self::evaluation`].
#[derive(Debug, Clone)]
pub struct CorruptionDraw {
    hidden: Vec<bool>,
    times: Vec<NoiseTime>,
    sides: Sides,
    schedule: NoiseSchedule,
    weighting: Weighting,
}

/// Which sides of a draw are predicted in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sides {
    /// Hidden tokens from visible ones.
    Hidden,
    /// Each side from the other; the sum is halved.
    Both,
}

/// What is hidden in each sequence, and how much the loss of each token counts.
#[derive(Debug, Clone)]
pub struct Corruption {
    /// Row by row: hidden (MDLM), or in group 1 (PGM).
    pub hidden: Vec<bool>,
    /// Row by row, 0 for tokens that are not predicted.
    pub weights: Vec<f32>,
    seq_len: usize,
}

impl CorruptionDraw {
    /// Hides each token with probability `1 - alpha(t)`, independently.
    pub(crate) fn draw(
        batch: &TokenBatch,
        times: &[NoiseTime],
        sides: Sides,
        weighting: Weighting,
        rng: &mut impl Rng,
    ) -> Self {
        let [n_sequences, seq_len] = batch.tokens.dims();
        assert_eq!(
            times.len(),
            n_sequences,
            "one time a sequence: {} times for {n_sequences} sequences",
            times.len()
        );
        let hidden = times
            .iter()
            .flat_map(|&time| draw_hidden(seq_len, time, rng))
            .collect();
        Self::given(hidden, times, sides, weighting)
    }

    pub(crate) fn given(
        hidden: Vec<bool>,
        times: &[NoiseTime],
        sides: Sides,
        weighting: Weighting,
    ) -> Self {
        assert!(
            !times.is_empty() && hidden.len().is_multiple_of(times.len()),
            "{} flags do not fit {} sequences",
            hidden.len(),
            times.len()
        );
        Self {
            hidden,
            times: times.to_vec(),
            sides,
            schedule: NoiseSchedule::default(),
            weighting,
        }
    }

    /// With the weights of the training loss.
    pub fn training(&self) -> Corruption {
        self.weighted(|hidden, time| match (self.sides, hidden) {
            (Sides::Hidden, false) => 0.0,
            (Sides::Hidden, true) => self.schedule.weight(time, self.weighting),
            (Sides::Both, false) => 0.5 * self.schedule.weight(time.flipped(), self.weighting),
            (Sides::Both, true) => 0.5 * self.schedule.weight(time, self.weighting),
        })
    }

    /// With the weights of the likelihood bound: hidden tokens only, the same for every objective,
    /// so that perplexities compare.
    pub fn evaluation(&self) -> Corruption {
        self.weighted(|hidden, time| {
            if hidden {
                self.schedule.elbo_weight(time)
            } else {
                0.0
            }
        })
    }

    fn weighted(&self, weight: impl Fn(bool, NoiseTime) -> f64) -> Corruption {
        let seq_len = self.hidden.len() / self.times.len();
        let weights = self
            .hidden
            .iter()
            .enumerate()
            .map(|(i, &hidden)| weight(hidden, self.times[i / seq_len]) as f32)
            .collect();
        Corruption {
            hidden: self.hidden.clone(),
            weights,
            seq_len,
        }
    }
}

/// Hides each token of a sequence with probability `1 - alpha(t)`, independently.
pub fn draw_hidden(seq_len: usize, time: NoiseTime, rng: &mut impl Rng) -> Vec<bool> {
    let probability = 1.0 - NoiseSchedule::default().alpha(time.t);
    (0..seq_len)
        .map(|_| rng.random::<f64>() < probability)
        .collect()
}

impl Corruption {
    /// The same sequences with the other side hidden; weights stay.
    pub(crate) fn flipped(&self) -> Self {
        Self {
            hidden: self.hidden.iter().map(|hidden| !hidden).collect(),
            ..self.clone()
        }
    }

    /// Without the weights of visible tokens.
    pub(crate) fn hidden_only(&self) -> Self {
        let mut corruption = self.clone();
        for (weight, hidden) in corruption.weights.iter_mut().zip(&self.hidden) {
            if !hidden {
                *weight = 0.0;
            }
        }
        corruption
    }

    /// 1 where hidden, else 0.
    ///
    /// # Shapes
    /// - output: `[batch, seq]`
    pub fn groups(&self, device: &Device) -> Tensor<2, Int> {
        let groups: Vec<i64> = self.hidden.iter().map(|&hidden| hidden as i64).collect();
        Tensor::from_data(TensorData::new(groups, self.shape()), device)
    }

    /// # Shapes
    /// - output: `[batch, seq]`, 0 for tokens that do not count in `batch`
    pub fn weights(&self, batch: &TokenBatch) -> Tensor<2> {
        let weights: Vec<f32> = self
            .weights
            .iter()
            .zip(&batch.valid)
            .map(|(&weight, &valid)| if valid { weight } else { 0.0 })
            .collect();
        Tensor::from_data(
            TensorData::new(weights, self.shape()),
            &batch.tokens.device().inner(),
        )
    }

    fn shape(&self) -> [usize; 2] {
        [self.hidden.len() / self.seq_len, self.seq_len]
    }
}
