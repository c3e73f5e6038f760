//! Memory of `memspec-train` that holds no tensors.

use super::Moved;
use crate::cost::{Host, Interval};
use crate::device::{Device, DeviceKind};
use crate::setup::Setup;

/// Bytes of a tokenizer for each word of its vocabulary, while its file is read: the word, its merges, and the maps over both.
const TOKENIZER_BYTES: u64 = 400;
/// What is left of that when training begins; the tensors have taken over the rest.
const TOKENIZER_KEPT_BYTES: u64 = 100;
/// Bytes of a sample's token: the id and its share of what says whether it is scored.
const DATA_BYTES: u64 = 5;
/// The program's small allocations: the catalog, the plan, the network's own bookkeeping.
const PROGRAM_BYTES: u64 = 2_800_000;
/// The program's code and stacks in memory.
const CODE_BYTES: u64 = 7_900_000;
/// The matrix library's slab for each thread (its `L2_SLAB`, a level-2 cache's worth), here 1 MiB.
const SLAB_BYTES: u64 = 1 << 20;
/// cuBLASLt's workspace (the executor's `kernels/cuda/gemm.rs`).
const CARD_WORKSPACE_BYTES: u64 = 32 << 20;
/// Packed operands of the product that packs most.
const PACKED_BYTES: u64 = 5 << 18;

/// Memory of the process that holds no tensors. The constants were read off runs of `memspec-train` on Linux; its test `promise` holds them.
pub fn host(setup: &Setup) -> Host {
    let Moved { inputs, input_bytes } = Moved::off_the_device(setup);
    Host {
        tokenizer_bytes: setup.model.vocab * TOKENIZER_BYTES,
        data_bytes: setup.data.drawn.map_or(0, |drawn| drawn.tokens * DATA_BYTES),
        program_bytes: PROGRAM_BYTES,
        block_inputs_bytes: inputs * input_bytes,
    }
}

/// What the process holds beside tensors and workspace while it trains: what it holds before, or what it usually is.
pub fn beside_tensors(setup: &Setup) -> u64 {
    if let Some(before) = setup.resident_before {
        return before;
    }
    let Host { data_bytes, program_bytes, .. } = host(setup);
    setup.model.vocab * TOKENIZER_KEPT_BYTES + data_bytes + program_bytes + CODE_BYTES
}

/// Whether runs on cards of this generation were measured: Hopper's (`benches/README.md`).
pub fn is_measured_on(device: &Device) -> bool {
    device.compute_capability.is_some_and(|(major, _)| major == 9)
}

/// What a process holds of a card beside what its pools and products do: the context and loaded kernels. 524 to 555 MiB on an H100; of other cards
/// what PyTorch's processes hold is known.
pub fn context(setup: &Setup) -> Interval {
    if is_measured_on(&setup.device) {
        return Interval { bytes: 540 << 20, low: 524 << 20, high: 556 << 20 };
    }
    let bytes = setup.device.occupied().0;
    Interval { bytes, low: bytes, high: bytes }
}

/// What the matrix products' packing buffers take; on a card the workspace of cuBLASLt.
pub fn workspace(setup: &Setup) -> u64 {
    if setup.device.kind != DeviceKind::Cpu {
        return CARD_WORKSPACE_BYTES;
    }
    PACKED_BYTES + SLAB_BYTES * u64::from(setup.device.cores.unwrap_or(1))
}
