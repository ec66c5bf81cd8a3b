//! The one place where a backend is chosen.

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::ValueEnum;

/// What a command computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The CPU.
    Flex,
    /// Any GPU through WebGPU's shader language (Vulkan, Metal, DirectX 12).
    Wgpu,
    /// A GPU through Vulkan and SPIR-V.
    Vulkan,
    /// An Apple GPU.
    Metal,
    /// An NVIDIA GPU.
    Cuda,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
        }
    }

    /// The backends in this binary, the one that is used by default first.
    fn compiled() -> Vec<Self> {
        [
            (Self::Cuda, cfg!(feature = "cuda")),
            (Self::Metal, cfg!(feature = "metal")),
            (Self::Vulkan, cfg!(feature = "vulkan")),
            (Self::Wgpu, cfg!(feature = "wgpu")),
            (Self::Flex, true),
        ]
        .into_iter()
        .filter_map(|(backend, is_compiled)| is_compiled.then_some(backend))
        .collect()
    }
}

/// Opens the device of a backend; without a wish, of the fastest in this binary.
pub fn open(wish: Option<Backend>) -> Result<Device> {
    let compiled = Backend::compiled();
    let backend = wish.unwrap_or(compiled[0]);
    if !compiled.contains(&backend) {
        let names: Vec<&str> = compiled.iter().map(|backend| backend.name()).collect();
        bail!(
            "backend `{0}` is not in this binary (it has: {1}); run `cargo xtask <command> --backend {0}`, or build with `cargo build --release -p pgm-cli --features {0}`",
            backend.name(),
            names.join(", ")
        );
    }
    tracing::debug!(backend = backend.name(), "opening the device");
    match backend {
        Backend::Flex => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "vulkan")]
        Backend::Vulkan => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "metal")]
        Backend::Metal => Ok(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        Backend::Cuda => Ok(Device::cuda(0usize)),
        #[allow(unreachable_patterns)]
        other => bail!("backend `{}` is not in this binary", other.name()),
    }
}
