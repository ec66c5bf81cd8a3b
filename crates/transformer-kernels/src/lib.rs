//! Operations of transformers that Burn composes of many steps, as single differentiable ops.
//!
//! Each op is a trait method with a body composed of Burn's own operations, so that every backend
//! works, a hand-written backward pass, and faster bodies where they pay. On the CPU (`flex`) the
//! composed bodies are bound by memory and by scalar calls into the maths library.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use transformer_kernels::tanh_gelu;
//!
//! let x = Tensor::<1>::from_floats([-1.0, 0.0, 1.0], &Device::flex());
//! let y = tanh_gelu(x).try_into_vec_as::<f32>().expect("float32");
//! assert!((y[2] - 0.841192).abs() < 1e-6);
//! ```
//!
//! | feature | gives |
//! | --- | --- |
//! | `flex` (default) | the CPU backend |
//! | `autodiff` | the backward passes |
//! | `wgpu`, `vulkan`, `metal`, `cuda` | the CubeCL backends, with operator fusion |

mod backends;
#[cfg(feature = "flex")]
pub mod cpu_math;
#[cfg(feature = "cuda")]
mod cublas;
mod functions;
#[cfg(all(feature = "cubecl-backend", feature = "fusion"))]
mod fusion_specs;
mod ops;

pub use functions::{linear, matrix_product, repeat_row, tanh_gelu};
pub use ops::TransformerOps;
