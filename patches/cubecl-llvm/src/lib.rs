//! A stand-in for `cubecl-llvm`, whose build script downloads LLVM.
//!
//! cubecl-cuda always depends on it, and with its feature `cpp` never calls it: kernels become CUDA C++ and go to NVRTC.
//! So these are the names that cubecl-cuda 0.11.3 mentions, our own and as short as they can be; whoever gets here all the same
//! (by choosing the LLVM backend in code) is told so by an error, not by a panic.

use std::fmt;

use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_server::compiler::{CompilationError, Compiler};
use cubecl_server::kernel::BufferIOAttr;

pub mod nvptx {
    //! NVIDIA's target.

    pub mod ptx_version {
        //! The version of PTX to emit.

        /// A version of PTX. There is none, since nothing is emitted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            /// The version for a driver: none.
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl std::fmt::Display for PtxVersion {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match *self {}
            }
        }
    }
}

pub mod shared {
    //! What all targets share.

    pub mod lowered_features {
        //! Features of a device that the LLVM backend can use.

        use cubecl_core::ir::DeviceProperties;

        /// A kind of GPU.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA's.
            Nvptx,
        }

        /// Takes nothing away: it is asked only for the LLVM backend, which compiles nothing.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}

/// A target of the compiler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA's GPUs.
    #[default]
    Nvptx,
}

/// The compiler, which refuses.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What it would compile for.
    pub target: LlvmTarget,
}

/// What it would be told.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// An AMD architecture: none.
    pub arch: Option<()>,
    /// NVIDIA's architecture.
    pub sm_arch: Option<SmArch>,
    /// The version of PTX.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Parameters lie in the kernel's parameter block.
    pub grid_constants: bool,
    /// cubecl-cuda fills the fields that it does not name from the default.
    pub rest: (),
}

/// What it would make.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    /// For NVIDIA.
    NvptxCode(NvptxModule),
}

/// A module for NVIDIA's driver.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// PTX that ends with a zero.
    pub ptx: Vec<std::ffi::c_char>,
    /// LLVM's text, for logs.
    pub ir: String,
    /// Bytes of shared memory at each launch.
    pub shared_memory_size: usize,
    /// What the kernel does with each buffer.
    pub io: Vec<BufferIOAttr>,
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::NvptxCode(module) = self;
        f.write_str(&module.ir)
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(&mut self, _: KernelDefinition, _: &PlironOptions) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "this program was built without LLVM; the CUDA C++ backend (`cubecl/cuda-cpp`) compiles kernels"
                .to_owned(),
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
