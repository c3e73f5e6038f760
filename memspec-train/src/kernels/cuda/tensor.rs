//! Tensors on a CUDA device: row by row without gaps, which burn's own constructors do not promise there.

use burn::backend::Cube;
use burn::tensor::{DType, Int, Shape, Tensor};
use burn_cubecl::tensor::CubeTensor;
use burn_std::Bytes;

use super::launch::{checked, submit};
use crate::kernels::DeviceFailed;

/// A tensor beside `like` whose elements are not written yet.
pub(super) fn unfilled(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let shape = shape.into();
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, dtype)
}

/// The card with this number, as CubeCL has it.
pub(super) fn device(card: usize) -> cubecl::Device {
    cubecl::Device::Cuda(cubecl::cuda::CudaDevice { index: card })
}

/// A tensor on the card with this number whose elements are not written yet.
pub(super) fn uninitialized(card: usize, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let (device, shape) = (device(card), shape.into());
    let client = device.client();
    let handle = client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(client, device, shape, handle, dtype)
}

/// A tensor of zeros on the card with this number.
pub(crate) fn zeros(card: usize, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let tensor = uninitialized(card, shape, dtype);
    let bytes = elements(&tensor) * dtype.size();
    submit([&tensor], 1, move |_, stream, [address]| {
        // SAFETY: the buffer has so many bytes, and lives until the stream is past this.
        let status = unsafe { cudarc::driver::sys::cuMemsetD8Async(address, 0, bytes, stream) };
        checked(status, "zeroing a tensor")
    });
    tensor
}

/// A tensor on the card with this number that holds `data`.
pub(crate) fn upload(card: usize, shape: impl Into<Shape>, dtype: DType, data: &[u8]) -> CubeTensor {
    let device = device(card);
    let client = device.client();
    let handle = client.create(Bytes::from_bytes_vec(data.to_vec()));
    CubeTensor::new_contiguous(client, device, shape.into(), handle, dtype)
}

/// The elements of a tensor as f32, once everything that writes them is done.
///
/// # Errors
/// An operation that was queued before failed: the first thing that went wrong.
pub(crate) fn read(tensor: &CubeTensor) -> Result<Vec<f32>, DeviceFailed> {
    let bytes =
        tensor.client.read_one(tensor.handle.clone()).map_err(|error| DeviceFailed(first_cause(&error.to_string())))?;
    let len = tensor.meta.shape().num_elements();
    let values: Vec<f32> = match tensor.dtype {
        DType::BF16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        DType::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        _ => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    };
    Ok(values[..len].to_vec())
}

/// The bytes of a tensor of bytes, once everything that writes them is done.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_bytes(tensor: &CubeTensor) -> Result<Vec<u8>, DeviceFailed> {
    let bytes =
        tensor.client.read_one(tensor.handle.clone()).map_err(|error| DeviceFailed(first_cause(&error.to_string())))?;
    Ok(bytes[..elements(tensor)].to_vec())
}

/// What went wrong first, of a report that has everything that went wrong because of it.
fn first_cause(report: &str) -> String {
    const AROUND: [&str; 7] = [
        "Several failures at once",
        "Caused by:",
        "The bytes were never written",
        "An error happened during execution",
        "Backtrace:",
        "No backtrace available",
        "Asked at:",
    ];
    let mut causes = report.lines().map(str::trim).filter(|line| !AROUND.iter().any(|around| line.starts_with(around)));
    causes.next().unwrap_or(report).to_owned()
}

/// The number of the card that a tensor is on.
pub(crate) fn card(tensor: &CubeTensor) -> Option<usize> {
    match &tensor.device {
        cubecl::Device::Cuda(device) => Some(device.index),
        #[allow(unreachable_patterns, reason = "with more runtimes in the build there are more")]
        _ => None,
    }
}

/// The tensor as this backend has it, when it is on a CUDA device.
pub(crate) fn here<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    tensor.clone().try_into_primitive::<Cube>().ok()
}

/// The same for a tensor of bytes.
pub(crate) fn here_bytes(tensor: &Tensor<1, Int>) -> Option<CubeTensor> {
    tensor.clone().try_into_primitive::<Cube>().ok()
}

/// Rows and columns of a tensor seen as a matrix: the last dimension is the row.
pub(super) fn matrix_shape(x: &CubeTensor) -> (usize, usize) {
    let shape = x.meta.shape();
    let columns = shape[shape.num_dims() - 1];
    (shape.num_elements() / columns.max(1), columns)
}

/// All elements.
pub(super) fn elements(x: &CubeTensor) -> usize {
    x.meta.shape().num_elements()
}

/// Rows `first .. first + rows` of a matrix, in the same buffer.
pub(super) fn rows(x: &CubeTensor, first: usize, rows: usize) -> CubeTensor {
    let (all, columns) = matrix_shape(x);
    let row = (columns * x.dtype.size()) as u64;
    let after = (all - first - rows) as u64 * row;
    let handle = x.handle.clone().offset_start(first as u64 * row).offset_end(after);
    CubeTensor::new_contiguous(x.client.clone(), x.device.clone(), Shape::from([rows, columns]), handle, x.dtype)
}
