//! CubeCL kernels that never build a `[query_len, key_len]` matrix.
//!
//! `warpgroup` is for half precision on Hopper GPUs, `tensor_core` for half precision on NVIDIA GPUs
//! from Ampere on, [`portable`] for the rest: it computes in float32 with one unit a row, in any
//! shader language. All follow flash attention (arXiv 2205.14135): the forward pass keeps a
//! log-sum-exp for each query, the backward pass computes the weights anew, one kernel for the
//! queries' gradient and one for those of keys and values, without atomics.

pub(crate) mod portable;
mod problem;
mod segment_table;
#[cfg(feature = "cuda")]
pub(crate) mod tensor_core;
#[cfg(feature = "cuda")]
pub(crate) mod warpgroup;

pub(crate) use problem::BackwardInput;
