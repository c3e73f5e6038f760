//! Inputs of checkpoints: kept on the card, or sent to the host (`unsloth_zoo/gradient_checkpointing.py:1337`, `UnslothCheckpointFunction`).

use super::super::super::torch::{Tape, Tensor};
use super::{STAGING, Sizes};

/// Smaller inputs stay (`gradient_checkpointing.py:1306`, `MINIMUM_SIZE`).
const MINIMUM_BYTES: u64 = 2 << 20;
/// Elements of a staging buffer before it is needed (`:64`, `INITIAL_GPU_BUFFER_SIZE`).
const INITIAL_ELEMENTS: u64 = 2 * 256 * 2048;

/// The two buffers on the card that inputs come back through.
#[derive(Debug, Default)]
pub(super) struct Staging {
    buffers: Vec<Tensor>,
}

impl Staging {
    /// Before a layer of the forward pass of optimizer step `step`: makes and grows the buffers. Returns that the layer's input leaves the card.
    /// The first pass sends every input; later ones keep the last layer's (`:1389`). The second buffer is used from the second pass on (`:1443`).
    pub(super) fn send(&mut self, tape: &mut Tape<'_>, sizes: &Sizes, step: u32, last: bool) -> bool {
        if !sizes.offload || sizes.hidden * 2 <= MINIMUM_BYTES || (last && step > 0) {
            return false;
        }
        if self.buffers.is_empty() {
            self.buffers = (0..2).map(|_| tape.new_as(STAGING, INITIAL_ELEMENTS, sizes.dtype)).collect();
        }
        let grown = if step > 0 { 2 } else { 1 };
        for buffer in &mut self.buffers[..grown] {
            if buffer.elements < sizes.hidden {
                *buffer = tape.new_as(STAGING, sizes.hidden, sizes.dtype);
            }
        }
        true
    }
}
