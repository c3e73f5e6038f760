//! PyTorch on sizes only: tensors that are freed with their last reference, operations that allocate what their CUDA kernels allocate and save
//! what their derivatives save, and the backward engine's order.
//!
//! An engine on PyTorch is a program over [`Tape`]. It reads like the model's Python: a local that lives there lives here, because memory is held
//! by references in both. What the program leaves behind is a [`Trace`](super::Trace).

mod attention;
mod autograd;
mod functions;
mod grouped;
mod kernels;
mod ops;
mod tape;
mod tensor;

pub(crate) use attention::{AttentionShape, Kernel};
pub(crate) use grouped::GroupedProduct;
pub(crate) use ops::Saves;
pub(crate) use tape::Tape;
pub(crate) use tensor::{Leaf, Tensor};
