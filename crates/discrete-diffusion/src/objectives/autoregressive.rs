use burn::tensor::{Tensor, TensorData};

use crate::{CausalDenoiser, TokenBatch, token_cross_entropy, without_token};

/// The negative log-likelihood of each token given what stands before it; the first token of a
/// sequence is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autoregressive {
    mask_token: Option<usize>,
}

impl Autoregressive {
    /// `mask_token` is never predicted; the authors' baseline has one in its vocabulary.
    pub fn new(mask_token: Option<usize>) -> Self {
        Self { mask_token }
    }

    /// Nats of every token but the first; 0 for tokens that do not count.
    ///
    /// # Shapes
    /// - output: `[batch, seq - 1]`
    pub fn token_nll(&self, denoiser: &impl CausalDenoiser, batch: &TokenBatch) -> Tensor<2> {
        let [n_sequences, seq_len] = batch.tokens.dims();
        let logits = denoiser.next_logits(batch.tokens.clone().narrow(1, 0, seq_len - 1));
        let logits = match self.mask_token {
            Some(token) => without_token(logits, token),
            None => logits,
        };
        let targets = batch.tokens.clone().narrow(1, 1, seq_len - 1);
        let valid: Vec<f32> = batch
            .valid
            .chunks(seq_len)
            .flat_map(|row| row[1..].iter().map(|&valid| valid as u8 as f32))
            .collect();
        let nll = token_cross_entropy(logits, targets);
        let valid = TensorData::new(valid, [n_sequences, seq_len - 1]);
        let valid = Tensor::from_data(valid, &nll.device());
        nll * valid
    }

    /// Tokens that are predicted: all that count but the first of each sequence.
    pub fn n_predicted(&self, batch: &TokenBatch) -> usize {
        let [_, seq_len] = batch.tokens.dims();
        batch
            .valid
            .chunks(seq_len)
            .map(|row| row[1..].iter().filter(|&&valid| valid).count())
            .sum()
    }
}
