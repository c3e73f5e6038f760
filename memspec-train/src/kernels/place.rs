//! Where a run's tensors live.

use burn::tensor::{DType, Int, Tensor};

use super::{DeviceFailed, storage};

/// A type of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 32 bits.
    F32,
    /// The upper 16 of them.
    Bf16,
    /// IEEE 754's 16 bits: more precise than bf16, and nothing beyond 65504.
    F16,
}

impl Format {
    /// As burn calls it.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// The format of numbers that burn calls so.
    pub fn of(dtype: DType) -> Self {
        match dtype {
            DType::BF16 => Self::Bf16,
            DType::F16 => Self::F16,
            _ => Self::F32,
        }
    }
}

/// The CPU, or a card and the types that numbers have there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Host memory; everything is f32.
    Cpu,
    /// A CUDA device.
    #[cfg(feature = "cuda")]
    Cuda {
        /// Its number, as the driver counts.
        card: usize,
        /// Of activations and frozen weights.
        active: Format,
        /// Of weights that are trained, their gradients and their moments: f32, or bf16 where activations are and nothing is f32.
        trained: Format,
    },
}

impl Place {
    /// The type of activations and frozen weights.
    pub fn active(self) -> Format {
        match self {
            Self::Cpu => Format::F32,
            #[cfg(feature = "cuda")]
            Self::Cuda { active, .. } => active,
        }
    }

    /// The type of weights that are trained, and of their gradients and moments.
    pub fn trained(self) -> Format {
        match self {
            Self::Cpu => Format::F32,
            #[cfg(feature = "cuda")]
            Self::Cuda { trained, .. } => trained,
        }
    }

    /// A tensor of the CPU here, as f32.
    pub fn full<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Cpu => tensor,
            #[cfg(feature = "cuda")]
            Self::Cuda { card, .. } => uploaded(card, &tensor, Format::F32),
        }
    }

    /// A tensor of the CPU here, in the type of activations: a weight that is not trained.
    pub fn frozen<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Cpu => tensor,
            #[cfg(feature = "cuda")]
            Self::Cuda { card, active, .. } => uploaded(card, &tensor, active),
        }
    }

    /// A tensor of the CPU here, in the type of weights that are trained.
    pub fn to_train<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Cpu => tensor,
            #[cfg(feature = "cuda")]
            Self::Cuda { card, trained, .. } => uploaded(card, &tensor, trained),
        }
    }

    /// Zeros in f32: a sum, a moment.
    pub fn zeros<const D: usize>(self, shape: [usize; D]) -> Tensor<D> {
        self.zeros_of(shape, Format::F32)
    }

    /// Zeros in the type of weights that are trained: a gradient, a moment.
    pub fn zeros_to_train<const D: usize>(self, shape: [usize; D]) -> Tensor<D> {
        self.zeros_of(shape, self.trained())
    }

    fn zeros_of<const D: usize>(self, shape: [usize; D], _format: Format) -> Tensor<D> {
        match self {
            Self::Cpu => storage::zeros_tensor(shape),
            #[cfg(feature = "cuda")]
            Self::Cuda { card, .. } => storage::zeros_on_card(card, shape, _format.dtype()),
        }
    }

    /// Zeros in the type of activations, where trained weights have another: what will be the working copy of one.
    pub fn working_zeros<const D: usize>(self, _shape: [usize; D]) -> Option<Tensor<D>> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda { card, active, trained } if active != trained => {
                Some(storage::zeros_on_card(card, _shape, active.dtype()))
            }
            _ => None,
        }
    }

    /// Bytes here.
    pub fn bytes(self, data: &[u8]) -> Tensor<1, Int> {
        match self {
            Self::Cpu => storage::u8_tensor(data),
            #[cfg(feature = "cuda")]
            Self::Cuda { card, .. } => storage::integers_on_card(card, DType::U8, data),
        }
    }

    /// Zero bytes here: codes of a moment.
    pub fn zero_bytes(self, count: usize) -> Tensor<1, Int> {
        match self {
            Self::Cpu => storage::zero_bytes(count),
            #[cfg(feature = "cuda")]
            Self::Cuda { card, .. } => storage::zero_bytes_on_card(card, count),
        }
    }

    /// Token ids or targets here.
    pub fn integers(self, data: &[i32]) -> Tensor<1, Int> {
        match self {
            Self::Cpu => storage::i32_tensor(data),
            #[cfg(feature = "cuda")]
            Self::Cuda { card, .. } => storage::integers_on_card(card, DType::I32, bytemuck::cast_slice(data)),
        }
    }
}

/// A tensor of the CPU on a card.
#[cfg(feature = "cuda")]
fn uploaded<const D: usize>(card: usize, tensor: &Tensor<D>, format: Format) -> Tensor<D> {
    storage::read(tensor, |values| storage::on_card(card, tensor.dims(), values, format))
}

/// The elements of a tensor, once everything that writes them is done.
///
/// # Errors
/// An operation that was queued before failed.
pub fn fetch<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<f32>, DeviceFailed> {
    #[cfg(feature = "cuda")]
    if let Some(tensor) = super::cuda::tensor::here(tensor) {
        return super::cuda::tensor::read(&tensor);
    }
    Ok(storage::read(tensor, <[f32]>::to_vec))
}

/// Reads a tensor of bytes, once everything that writes them is done: in place on the CPU.
///
/// # Errors
/// An operation that was queued before failed.
pub fn read_bytes<T>(tensor: &Tensor<1, Int>, read: impl FnOnce(&[u8]) -> T) -> Result<T, DeviceFailed> {
    #[cfg(feature = "cuda")]
    if let Some(tensor) = super::cuda::tensor::here_bytes(tensor) {
        return Ok(read(&super::cuda::tensor::read_bytes(&tensor)?));
    }
    storage::read_bytes(tensor, read)
        .ok_or_else(|| DeviceFailed("its tensors are on a backend that is none of this program's".to_owned()))
}
