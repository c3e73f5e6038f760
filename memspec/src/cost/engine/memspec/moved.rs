//! `activation_offload`: which inputs of blocks are in host memory between their passes, and how large they are.

use super::{batch, element};
use crate::device::DeviceKind;
use crate::setup::Setup;

/// Inputs of recomputed blocks that leave the device after their block's forward pass, and come back while the block after it goes backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How many: those of the first so many blocks. The last block's is not among them, as backward begins with it.
    pub inputs: u64,
    /// Bytes of one, of the largest micro batch.
    pub input_bytes: u64,
}

impl Moved {
    /// Those of a setup; none where it moves none.
    pub fn of(setup: &Setup) -> Self {
        let before_the_last = setup.model.layers.saturating_sub(1);
        let inputs = if setup.train.activation_offload { setup.recomputed_blocks().min(before_the_last) } else { 0 };
        let (samples, context) = batch(setup);
        Self { inputs, input_bytes: samples * context * setup.model.hidden * element(setup) }
    }

    /// The same as far as they are in other memory than the device's: none on the CPU.
    pub(super) fn off_the_device(setup: &Setup) -> Self {
        let all = Self::of(setup);
        if setup.device.kind == DeviceKind::Cpu { Self { inputs: 0, ..all } } else { all }
    }
}
