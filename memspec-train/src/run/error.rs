//! Why a run fails.

use crate::checkpoint::{CheckpointError, WriteError};
use crate::devices::NoDevice;
use crate::kernels::DeviceFailed;
use crate::network::load::LoadError;
use crate::output::OutputError;
use crate::prepare::PrepareError;

/// Why a run failed. What was saved before stays.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Before it began.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The weights.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The output folder.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceFailed),
    /// The device, in the midst of training.
    #[error("the device failed in step {step}: {}; the last good checkpoint is {checkpoint}", .cause.0)]
    Stopped {
        /// The step, from 1.
        step: u64,
        /// Where to go on from.
        checkpoint: String,
        /// Bytes that this process held of the device then, and could have taken beside what others did, where its driver tells.
        room: Option<u64>,
        /// What it said.
        cause: DeviceFailed,
    },
    /// The device that the plan names cannot be used.
    #[error(transparent)]
    NoDevice(#[from] NoDevice),
    /// The loss is no number any more.
    #[error("{what} of step {step} is {value}; the last good checkpoint is {checkpoint}")]
    Diverged {
        /// The loss, or the gradient's norm.
        what: &'static str,
        /// The step, from 1.
        step: u64,
        /// The number that is none.
        value: f32,
        /// Where to go on from.
        checkpoint: String,
    },
    /// Gradients overflow in fp16 at every scale.
    #[error(
        "the gradients of step {step} overflow in fp16, as those of the steps before, even where nothing is scaled up; the last good checkpoint is {checkpoint}"
    )]
    ScaleLost {
        /// The step, from 1.
        step: u64,
        /// Where to go on from.
        checkpoint: String,
    },
}

impl From<CheckpointError> for RunError {
    fn from(error: CheckpointError) -> Self {
        Self::Load(error.into())
    }
}

impl From<WriteError> for RunError {
    fn from(error: WriteError) -> Self {
        Self::Output(error.into())
    }
}
