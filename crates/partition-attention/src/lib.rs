//! Attention over one group of a partition, as an operation for [Burn](burn).
//!
//! The tokens of a sequence are split into groups, and a query may only read keys of one group.
//! Instead of a `[seq, seq]` mask, tokens are *sorted by group* once, before the embedding
//! ([`GroupLayout`]); what a query may read is then a contiguous range of keys, and the whole
//! pattern is a short list of rectangles ([`Segments`]):
//!
//! ```text
//!            keys                 keys
//!          g0   g1              g0   g1
//!        +----+----+          +----+----+
//!     g0 |####|    |       g0 |    |####|
//!        +----+----+          +----+----+
//!     g1 |    |####|       g1 |####|    |
//!        +----+----+          +----+----+
//!        within groups        across groups
//! ```
//!
//! For a query `q_i` in a rectangle with keys `K`,
//! `output_i = sum_j softmax_j(q_i . k_j / sqrt(head_dim)) v_j` over `j` in `K`. Where `K` is
//! empty, and for queries outside every rectangle, the output and all gradients are 0.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Int, Tensor};
//! use partition_attention::{GroupLayout, partition_attention};
//!
//! let device = Device::flex();
//! // One sequence of five tokens; tokens 1 and 3 form group 1.
//! let groups = Tensor::<2, Int>::from_ints([[0, 1, 0, 1, 0]], &device);
//! let layout = GroupLayout::new(groups);
//!
//! // `[batch, seq, heads, head_dim]`, already in sorted order: g0 g0 g0 g1 g1.
//! let [query, key, value] =
//!     [0, 1, 2].map(|_| Tensor::<4>::random([1, 5, 2, 8], Distribution::Default, &device));
//! let output = partition_attention(query, key, value, &layout.within_groups());
//! assert_eq!(output.dims(), [1, 5, 2, 8]);
//! ```
//!
//! # Backends
//!
//! The crate is generic over Burn's `Backend` trait: [`PartitionAttentionOps`] has a body composed
//! of Burn's own operations for every backend, and one hand-written backward pass for
//! `Autodiff<B, C>` that keeps a log-sum-exp per query instead of the attention weights. The CPU and
//! the CubeCL backends have bodies of their own that compute the rectangles alone: tensor cores for
//! half precision on NVIDIA GPUs, portable kernels elsewhere.
//!
//! | feature | gives |
//! | --- | --- |
//! | `flex` (default) | the CPU backend |
//! | `autodiff` | the backward pass |
//! | `wgpu`, `vulkan`, `metal`, `cuda` | the CubeCL backends, with operator fusion |

mod backends;
mod error;
mod functions;
#[cfg(all(feature = "cubecl-backend", feature = "fusion"))]
mod fusion_specs;
#[cfg(feature = "cubecl-backend")]
mod kernels;
mod layout;
mod ops;
pub mod reference;
mod segments;

pub use error::SegmentError;
pub use functions::partition_attention;
pub use layout::GroupLayout;
pub use ops::PartitionAttentionOps;
pub use segments::{Segment, Segments};
