//! Weights in the layout of the authors' PyTorch code.

mod published;

pub use published::{PublishedWeights, WeightsError, load_published};
