//! Losses: how a network is trained, and what its perplexity is.

mod autoregressive;
mod cloze;
mod complement_mdlm;
mod mdlm;
mod pgm;

pub use autoregressive::Autoregressive;
pub use cloze::{AnswerDraw, Cloze, TokenCost};
pub use complement_mdlm::ComplementMdlm;
pub use mdlm::Mdlm;
pub use pgm::Pgm;
