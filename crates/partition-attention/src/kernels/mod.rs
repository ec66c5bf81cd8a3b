//! CubeCL kernels that never build a `[query_len, key_len]` matrix.
//!
//! [`tensor_core`] is for half precision on NVIDIA GPUs, [`portable`] for the rest: it computes in
//! float32 with one unit a row, in any shader language. Both follow flash attention (arXiv
//! 2205.14135): the forward pass keeps a log-sum-exp for each query, the backward pass computes the
//! weights anew, one kernel for the queries' gradient and one for those of keys and values, without
//! atomics.

pub(crate) mod portable;
mod problem;
mod segment_table;
#[cfg(feature = "cuda")]
pub(crate) mod tensor_core;

pub(crate) use problem::BackwardInput;
