//! How sequences are drawn from a trained network.
//!
//! Five concepts, freely combined:
//!
//! - A [`Context`] is what is known of a sequence beforehand: BOS, a prompt, scattered tokens. A
//!   [`SampleRequest`] asks for one sequence a context.
//! - A [`Predictor`] is a network as the sampler sees it: logits of hidden positions from the visible tokens.
//! - A [`RevealSchedule`] says how many positions a step reveals, and a [`RevealOrder`] which.
//! - A [`TokenSampler`](crate::TokenSampler) draws the token of a revealed position.
//!
//! [`DiffusionSampler`] is the loop around them. [`MdlmPublished`] is the expensive loop of the publications,
//! for comparison, and [`AutoregressiveSampler`] goes from left to right.
//!
//! A [`SamplingProgress`] shows what is known of the sequences at every step.
//!
//! | published as | predictor | schedule | order |
//! | --- | --- | --- | --- |
//! | MDLM, ancestral | [`MaskedPredictor`] | [`Binomial`](RevealSchedule::Binomial) | random |
//! | PGM, naive | [`PartitionPredictor`] | [`Binomial`](RevealSchedule::Binomial) | random |
//! | PGM, uniform | [`KnownPredictor`] | [`Even`](RevealSchedule::Even) | random |
//! | PGM, non-uniform, exact | [`KnownPredictor`] | [`Binomial`](RevealSchedule::Binomial) | random |
//! | PGM, non-uniform, published | [`KnownPredictor`] | [`BinomialPublished`](RevealSchedule::BinomialPublished) | random |
//! | ReMDM | any | [`Remasking`](RevealSchedule::Remasking) | random |
//! | EB-Sampler | any | [`EntropyBound`](RevealSchedule::EntropyBound) | entropy |
//! | LLaDA | [`MaskedPredictor`] | [`Even`](RevealSchedule::Even), in blocks | confidence |
//!
//! Whether a position is revealed is drawn apart from the token it gets. Each sequence has random streams of
//! its own, so that the same seed gives the same text whatever the batch size.

mod autoregressive;
mod blocks;
mod context;
mod diffusion;
mod mdlm_published;
mod order;
mod predictor;
mod progress;
mod remasking;
mod request;
mod row;
mod schedule;
mod transfer;

pub use autoregressive::AutoregressiveSampler;
pub use context::Context;
pub use diffusion::DiffusionSampler;
pub use mdlm_published::{MdlmPublished, PredictionUse};
pub use order::RevealOrder;
pub use predictor::{
    CausalPredictor, KnownPredictor, MaskedPredictor, PartitionPredictor, Predictor,
};
pub use progress::SamplingProgress;
pub use remasking::Remasking;
pub use request::{SampleError, SampleRequest, Samples};
pub use schedule::{RevealSchedule, reveal_counts};
pub(crate) use transfer::read;
