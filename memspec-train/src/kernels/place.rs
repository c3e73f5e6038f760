//! Where a run's tensors live.

use burn::tensor::{Int, Tensor};

use super::{DeviceFailed, storage};

/// The CPU, or a card and the type that activations and frozen weights have there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Host memory; everything is f32.
    Cpu,
    /// A CUDA device.
    #[cfg(feature = "cuda")]
    Cuda {
        /// Its number, as the driver counts.
        card: usize,
        /// Activations and frozen weights are bf16, not f32.
        bf16: bool,
    },
}

impl Place {
    /// A tensor of the CPU here, as f32.
    pub fn full<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Cpu => tensor,
            #[cfg(feature = "cuda")]
            Self::Cuda { card, .. } => storage::read(&tensor, |values| {
                storage::on_card(card, tensor.dims(), burn::tensor::DType::F32, bytemuck::cast_slice(values))
            }),
        }
    }

    /// A tensor of the CPU here, in the type of activations: a weight that is not trained.
    pub fn frozen<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda { card, bf16: true } => storage::read(&tensor, |values| {
                use rayon::prelude::*;
                let halves: Vec<half::bf16> = values.par_iter().map(|&value| half::bf16::from_f32(value)).collect();
                storage::on_card(card, tensor.dims(), burn::tensor::DType::BF16, bytemuck::cast_slice(&halves))
            }),
            _ => self.full(tensor),
        }
    }

    /// Zeros in f32: a gradient, a moment, a sum.
    pub fn zeros<const D: usize>(self, shape: [usize; D]) -> Tensor<D> {
        match self {
            Self::Cpu => storage::zeros_tensor(shape),
            #[cfg(feature = "cuda")]
            Self::Cuda { card, .. } => storage::zeros_on_card(card, shape, burn::tensor::DType::F32),
        }
    }

    /// Zeros in the type of activations, where that is not f32: what will be the working copy of a trained weight.
    pub fn working_zeros<const D: usize>(self, _shape: [usize; D]) -> Option<Tensor<D>> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda { card, bf16: true } => Some(storage::zeros_on_card(card, _shape, burn::tensor::DType::BF16)),
            _ => None,
        }
    }

    /// Bytes here.
    pub fn bytes(self, data: &[u8]) -> Tensor<1, Int> {
        match self {
            Self::Cpu => storage::u8_tensor(data),
            #[cfg(feature = "cuda")]
            Self::Cuda { card, .. } => storage::integers_on_card(card, burn::tensor::DType::U8, data),
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
            Self::Cuda { card, .. } => {
                storage::integers_on_card(card, burn::tensor::DType::I32, bytemuck::cast_slice(data))
            }
        }
    }
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
