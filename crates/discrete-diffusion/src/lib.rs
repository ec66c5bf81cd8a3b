//! Objectives and samplers of masked diffusion, partition and autoregressive language models.
//!
//! The maths of Masked Diffusion Language Models (MDLM, arXiv 2406.07524) and Partition Generative
//! Models (PGM, arXiv 2505.18883) on [Burn](burn) tensors. No network is named here: a network
//! implements one of [`SequenceDenoiser`], [`PartitionDenoiser`] and [`CausalDenoiser`].
//!
//! With noise schedule `alpha(t) = 1 - (1 - eps) t`, a token is hidden (MDLM) or put into group 1
//! (PGM) with probability `1 - alpha(t)`, and the loss of a hidden token is
//! `-alpha'(t) / (1 - alpha(t)) * -log p(token | what is visible)`. A PGM predicts group 1 from
//! group 0 *and* group 0 from group 1 in one pass, with weights of the times `t` and `1 - t`.
//!
//! All randomness is drawn on the host from counter-based streams, so that the same seed gives the
//! same masks, partitions and samples on every backend.
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use discrete_diffusion::{SequenceDenoiser, TokenBatch, objectives::Mdlm, time_sampler};
//! use rand::SeedableRng;
//!
//! /// Knows nothing: all tokens are equally likely.
//! struct Uniform;
//! impl SequenceDenoiser for Uniform {
//!     fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
//!         let [batch, seq_len] = tokens.dims();
//!         Tensor::zeros([batch, seq_len, 5], &tokens.device())
//!     }
//! }
//!
//! let device = Device::flex();
//! let batch = TokenBatch::unpadded(Tensor::from_ints([[0, 1, 2, 3]], &device));
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
//! let times = time_sampler::antithetic(1, &mut rng);
//! let objective = Mdlm::new(4); // the last of the 5 ids is MASK
//! let corruption = objective.corrupt(&batch, &times, &mut rng).training();
//! let nll = objective.token_nll(&Uniform, &batch, &corruption);
//! assert_eq!(nll.dims(), [1, 4]);
//! ```

mod categorical;
mod corruption;
mod cross_entropy;
mod denoiser;
pub mod distillation;
mod noise_schedule;
pub mod objectives;
pub mod random_streams;
pub mod samplers;
pub mod time_sampler;
mod token_batch;

pub use categorical::{CategoricalError, TokenSampler};
pub use corruption::{Corruption, CorruptionDraw, draw_hidden};
pub use cross_entropy::{token_cross_entropy, without_token};
pub use denoiser::{
    CausalDenoiser, KnownTokens, PartitionDenoiser, PartitionLogits, QueryPositions,
    SequenceDenoiser,
};
pub use noise_schedule::{NoiseSchedule, NoiseTime, Weighting};
pub use token_batch::TokenBatch;
