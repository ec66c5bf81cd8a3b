//! A stand-in for the crate `cubecl-llvm`, put in its place by `[patch.crates-io]`.
//!
//! `cubecl-cuda` always links `cubecl-llvm`, and the build script of the original downloads a copy
//! of LLVM. Here kernels go the other way, through CUDA C++ and NVRTC (feature `cpp` of
//! `cubecl-cuda`), so LLVM would be fetched and never run. This crate has just the items that
//! `cubecl-cuda` names; its compiler refuses every kernel. It serves neither `cubecl-cpu` nor
//! `cubecl-hip`, and must be of the same version as the rest of CubeCL.

use core::{convert::Infallible, ffi::c_char, fmt};

use cubecl_core::environment::backtrace::BackTrace;
use cubecl_core::ir::{attributes::BufferIOAttr, nvidia::SmArch};
use cubecl_core::{CompilationError, Compiler, prelude::KernelDefinition};

#[cfg(feature = "amdgpu")]
compile_error!(
    "this stand-in for `cubecl-llvm` is for CUDA only: to build for ROCm, take the \
     `cubecl-llvm` line out of `[patch.crates-io]`"
);

/// A compiler that refuses every kernel.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    /// What it would compile for.
    pub target: LlvmTarget,
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: format!(
                "kernel `{}` was given to the LLVM compiler, which this build leaves out: turn \
                 on the feature `cpp` of `cubecl-cuda`",
                kernel.settings.kernel_name
            ),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

/// The targets of the LLVM compiler.
#[derive(Clone, Copy, Debug)]
pub enum LlvmTarget {
    /// NVIDIA PTX.
    Nvptx,
}

/// The options of the LLVM compiler; none is read.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// AMD architecture: never one here.
    pub arch: Option<Infallible>,
    /// NVIDIA architecture.
    pub sm_arch: Option<SmArch>,
    /// PTX version to emit.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Whether scalars and metadata go into the kernel's parameter block.
    pub grid_constants: bool,
}

/// What the LLVM compiler returns; never made here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlironArtifact {
    /// A PTX module.
    NvptxCode(NvptxModule),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::NvptxCode(module) = self;
        f.write_str(&module.ir)
    }
}

/// A compiled PTX module; never made here.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// NUL-terminated PTX.
    pub ptx: Vec<c_char>,
    /// LLVM IR, for the log.
    pub ir: String,
    /// Bytes of shared memory that a launch needs.
    pub shared_memory_size: usize,
    /// Which buffers are read and written.
    pub io: Vec<BufferIOAttr>,
}

/// NVIDIA PTX.
pub mod nvptx {
    /// Versions of the PTX language.
    pub mod ptx_version {
        /// A PTX version; there is none, because nothing here emits PTX.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            /// The PTX version to emit for a driver: none.
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl core::fmt::Display for PtxVersion {
            fn fmt(&self, _f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match *self {}
            }
        }
    }
}

/// What the targets have in common.
pub mod shared {
    /// The device features that the LLVM compiler can honour.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// The GPU targets.
        #[derive(Clone, Copy, Debug)]
        pub enum GpuTarget {
            /// NVIDIA PTX.
            Nvptx,
        }

        /// Leaves `props` as they are: no kernel is compiled for them here.
        pub fn restrict_features(_props: &mut DeviceProperties, _target: GpuTarget) {}
    }
}
