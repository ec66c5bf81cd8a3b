use pgm_data::TokenBatch;
use pgm_train::ExperimentConfig;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The sequences of an optimizer step, of random tokens below MASK.
pub fn random_batch(config: &ExperimentConfig, mask_token: usize) -> TokenBatch {
    let (batch_size, seq_len) = (config.training.batch_size, config.data.seq_len);
    let n_tokens = batch_size * seq_len;
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    TokenBatch {
        tokens: (0..n_tokens)
            .map(|_| rng.random_range(0..mask_token as u32))
            .collect(),
        valid: vec![true; n_tokens],
        batch_size,
        seq_len,
    }
}
