//! Tensor storage on the CPU.
//!
//! Every tensor of the executor is allocated here, aligned to [`TENSOR_ALIGN`]. SIMD kernels like alignment (64 would do, but burn's own
//! bookkeeping has that), and since nothing else in the process asks for this one, the counting allocator in [`crate::monitor`] can tell a tensor from other host memory by the
//! layout it is asked for, without trusting the code that makes the promise.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Int, Shape, Tensor, TensorData};
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

#[cfg(feature = "cuda")]
use super::place::Format;

/// Alignment in bytes of tensor storage, and of nothing else.
pub const TENSOR_ALIGN: usize = 256;

/// An f32 tensor of the flex backend.
pub(crate) type F32 = FloatTensor<Flex>;

struct Storage {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the storage owns its bytes and hands out references by Rust's own rules.
unsafe impl Send for Storage {}
// SAFETY: as above, shared access is read-only.
unsafe impl Sync for Storage {}

impl Storage {
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), TENSOR_ALIGN)
            .unwrap_or_else(|_| panic!("a tensor of {bytes} bytes is larger than the address space"));
        // SAFETY: the layout has a non-zero size.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, layout }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl AllocationController for Storage {
    fn alloc_align(&self) -> usize {
        TENSOR_ALIGN
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Native
    }

    unsafe fn memory_mut(&mut self, _policy: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        // SAFETY: `start` points at `layout.size()` bytes that this storage owns.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.layout.size()) })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        // SAFETY: as above.
        Ok(unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.layout.size()) })
    }
}

fn bytes(len: usize) -> Bytes {
    // SAFETY: callers of the functions below either fill the storage before it is read or ask for zeros.
    unsafe { Bytes::from_controller(Box::new(Storage::new(len)), len) }
}

/// An f32 tensor whose elements are not written yet: every kernel writes the whole of what it returns.
pub(crate) fn unfilled(shape: impl Into<Shape>) -> F32 {
    let shape = shape.into();
    let bytes = bytes(shape.num_elements() * 4);
    F32::from_data(TensorData::from_bytes(bytes, shape, DType::F32))
}

/// An f32 tensor of zeros.
pub(crate) fn zeros(shape: impl Into<Shape>) -> F32 {
    let mut tensor = unfilled(shape);
    tensor.storage_mut::<f32>().fill(0.0);
    tensor
}

/// A tensor on the CPU with the elements that `fill` writes; `fill` sees zeros.
pub fn f32_tensor<const D: usize, E>(
    shape: [usize; D],
    fill: impl FnOnce(&mut [f32]) -> Result<(), E>,
) -> Result<Tensor<D>, E> {
    let mut tensor = zeros(shape);
    fill(tensor.storage_mut::<f32>())?;
    Ok(Tensor::from_primitive::<Flex>(tensor))
}

/// A tensor of zeros on the CPU.
pub fn zeros_tensor<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(zeros(shape))
}

/// A byte tensor on the CPU with a copy of `data`.
pub fn u8_tensor(data: &[u8]) -> Tensor<1, Int> {
    int_tensor(data, DType::U8)
}

/// An i32 tensor on the CPU with a copy of `data`.
pub fn i32_tensor(data: &[i32]) -> Tensor<1, Int> {
    int_tensor(bytemuck::cast_slice(data), DType::I32)
}

fn int_tensor(data: &[u8], dtype: DType) -> Tensor<1, Int> {
    let mut bytes = bytes(data.len());
    bytes.copy_from_slice(data);
    let shape = Shape::from([data.len() / dtype.size()]);
    let tensor = F32::from_data(TensorData::from_bytes(bytes, shape, dtype));
    Tensor::from_primitive::<Flex>(tensor)
}

/// A tensor of zero bytes on the CPU.
pub fn zero_bytes(count: usize) -> Tensor<1, Int> {
    let mut bytes = bytes(count);
    bytes.fill(0);
    Tensor::from_primitive::<Flex>(F32::from_data(TensorData::from_bytes(bytes, Shape::from([count]), DType::U8)))
}

/// Reads a byte tensor of the CPU in place; `None` where it is elsewhere.
pub(super) fn read_bytes<T>(tensor: &Tensor<1, Int>, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    Some(read(&tensor.bytes()[..tensor.layout().num_elements()]))
}

/// The tensor is in host memory.
pub fn is_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.clone().try_into_primitive::<Flex>().is_ok()
}

/// The tensor is on a card, in a type of 16 bits.
pub fn is_short<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::BF16 | DType::F16) && !is_host(tensor)
}

/// Reads an f32 tensor of the CPU in place, without a copy.
pub fn read<const D: usize, T>(tensor: &Tensor<D>, read: impl FnOnce(&[f32]) -> T) -> T {
    match tensor.clone().try_into_primitive::<Flex>() {
        Ok(tensor) => read(&tensor.storage::<f32>()[..tensor.layout().num_elements()]),
        // Another backend: through a host copy.
        Err(_) => {
            let data: Vec<f32> = tensor.to_data().iter::<f32>().collect();
            read(&data)
        }
    }
}

/// Writes `values` over a tensor, rounded to its type.
pub fn write<const D: usize>(tensor: Tensor<D>, values: &[f32]) -> Tensor<D> {
    #[cfg(feature = "cuda")]
    if let Some(card) = super::cuda::tensor::here(&tensor).and_then(|tensor| super::cuda::tensor::card(&tensor)) {
        return on_card(card, tensor.dims(), values, Format::of(tensor.dtype()));
    }
    match tensor.clone().try_into_primitive::<Flex>() {
        Ok(mut primitive) => {
            drop(tensor);
            let len = primitive.layout().num_elements();
            primitive.storage_mut::<f32>()[..len].copy_from_slice(values);
            Tensor::from_primitive::<Flex>(primitive)
        }
        Err(_) => {
            let shape = tensor.dims();
            Tensor::from_data(TensorData::new(values.to_vec(), shape), &tensor.device())
        }
    }
}

/// A float tensor on a card with these values, rounded to its format.
#[cfg(feature = "cuda")]
pub(super) fn on_card<const D: usize>(card: usize, shape: [usize; D], values: &[f32], format: Format) -> Tensor<D> {
    use half::{bf16, f16};
    use rayon::prelude::*;
    let upload = |data: &[u8]| super::cuda::tensor::upload(card, shape, format.dtype(), data);
    let tensor = match format {
        Format::F32 => upload(bytemuck::cast_slice(values)),
        Format::Bf16 => {
            let rounded: Vec<bf16> = values.par_iter().map(|&value| bf16::from_f32(value)).collect();
            upload(bytemuck::cast_slice(&rounded))
        }
        Format::F16 => {
            let rounded: Vec<f16> = values.par_iter().map(|&value| f16::from_f32(value)).collect();
            upload(bytemuck::cast_slice(&rounded))
        }
    };
    Tensor::from_primitive::<burn::backend::Cube>(tensor)
}

/// A float tensor of zeros on a card.
#[cfg(feature = "cuda")]
pub(super) fn zeros_on_card<const D: usize>(card: usize, shape: [usize; D], dtype: DType) -> Tensor<D> {
    Tensor::from_primitive::<burn::backend::Cube>(super::cuda::tensor::zeros(card, shape, dtype))
}

/// A tensor of zero bytes on a card.
#[cfg(feature = "cuda")]
pub(super) fn zero_bytes_on_card(card: usize, count: usize) -> Tensor<1, Int> {
    Tensor::from_primitive::<burn::backend::Cube>(super::cuda::tensor::zeros(card, [count], DType::U8))
}

/// An integer tensor on a card with these bytes.
#[cfg(feature = "cuda")]
pub(super) fn integers_on_card(card: usize, dtype: DType, data: &[u8]) -> Tensor<1, Int> {
    let shape = [data.len() / dtype.size()];
    Tensor::from_primitive::<burn::backend::Cube>(super::cuda::tensor::upload(card, shape, dtype, data))
}
