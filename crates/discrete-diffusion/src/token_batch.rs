use burn::tensor::{Int, Tensor};

/// Sequences of equal length on a device.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    /// Token ids, `[batch, seq]`.
    pub tokens: Tensor<2, Int>,
    /// Which tokens count in the loss, row by row; padding does not.
    pub valid: Vec<bool>,
}

impl TokenBatch {
    /// A batch in which every token counts.
    pub fn unpadded(tokens: Tensor<2, Int>) -> Self {
        let [batch, seq_len] = tokens.dims();
        Self {
            tokens,
            valid: vec![true; batch * seq_len],
        }
    }

    /// A batch of which only some tokens count.
    ///
    /// # Panics
    /// Panics if `valid` does not have one entry a token.
    pub fn new(tokens: Tensor<2, Int>, valid: Vec<bool>) -> Self {
        let [batch, seq_len] = tokens.dims();
        assert_eq!(
            valid.len(),
            batch * seq_len,
            "`valid` needs one entry for each of {batch} x {seq_len} tokens"
        );
        Self { tokens, valid }
    }

    /// Tokens that count.
    pub fn n_valid(&self) -> usize {
        self.valid.iter().filter(|&&valid| valid).count()
    }
}
