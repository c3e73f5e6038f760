//! What a setup takes: peaks, parts and phases.

use serde::Serialize;

use super::{CostError, Inference, PhaseName, engine, inference, on_torch, replay};
use crate::device::DeviceKind;
use crate::plan::EngineName;
use crate::quantity::Bytes;
use crate::setup::Setup;

/// A figure and the interval that it is expected in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interval {
    /// The estimate, in bytes.
    pub bytes: u64,
    /// The lower end, in bytes.
    pub low: u64,
    /// The upper end, in bytes.
    pub high: u64,
}

impl Interval {
    /// `bytes` give or take a share of it.
    pub(super) fn around(bytes: u64, share: f64) -> Self {
        let margin = (bytes as f64 * share) as u64;
        Self { bytes, low: bytes - margin, high: bytes + margin }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, low: self.low + other.low, high: self.high + other.high }
    }
}

/// The highest moment of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Peak {
    /// The phase it is in.
    pub phase: PhaseName,
    /// Live tensors.
    pub allocated: Interval,
    /// What the backend holds: tensors, and the workspace of its matrix products.
    pub reserved: Interval,
    /// What the process holds: on the CPU its resident memory, on a GPU also the CUDA context.
    pub process: Interval,
}

/// One phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Phase {
    /// Its name.
    pub name: PhaseName,
    /// The most bytes of live tensors in it.
    pub allocated_bytes: u64,
    /// Bytes of the tensors that are alive when it ends.
    pub after_bytes: u64,
}

/// A replay that ran into its limit: what the allocator could not give, even with its cache flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OutOfMemory {
    /// The phase it is in.
    pub phase: PhaseName,
    /// Bytes of the tensor that found no place.
    pub tried_bytes: u64,
    /// Bytes of live tensors then.
    pub allocated_bytes: u64,
    /// Bytes that the allocator held then.
    pub reserved_bytes: u64,
}

/// What is alive at the peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AtPeak {
    /// What it is.
    pub what: &'static str,
    /// The setting that decides how large it is.
    pub setting: &'static str,
    /// Its bytes.
    pub bytes: u64,
}

/// Memory of the process beside its tensors on the device, each part at its highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Host {
    /// The tokenizer while it is read, in bytes; later it takes a quarter of that.
    pub tokenizer_bytes: u64,
    /// Tokens of the data, in bytes; 0 until the data were read.
    pub data_bytes: u64,
    /// The program's small allocations, in bytes.
    pub program_bytes: u64,
    /// Inputs of recomputed blocks in pinned memory, in bytes: those that `activation_offload` moves off a card.
    pub block_inputs_bytes: u64,
}

impl Host {
    /// Nothing that is known.
    pub const NONE: Self = Self { tokenizer_bytes: 0, data_bytes: 0, program_bytes: 0, block_inputs_bytes: 0 };

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.tokenizer_bytes + self.data_bytes + self.program_bytes + self.block_inputs_bytes
    }
}

/// What a setup takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Estimate {
    /// The setup's name.
    pub name: String,
    /// It runs within the limit: the upper end of what the process takes is, and so was the allocator's replay, where there is one.
    pub fits: bool,
    /// Where the allocator's replay under the limit failed; `None`: it did not, or the engine's allocator is not replayed.
    pub oom: Option<OutOfMemory>,
    /// What it may take on the device, in bytes.
    pub limit_bytes: u64,
    /// The device's name.
    pub device: String,
    /// The interval was checked against measured runs of this engine on this kind of device.
    pub measured: bool,
    /// The highest moment.
    pub peak: Peak,
    /// Each phase.
    pub phases: Vec<Phase>,
    /// What is alive at the peak, the largest first. The bytes add up to `peak.allocated.bytes`.
    pub at_peak: Vec<AtPeak>,
    /// The rest of the process's memory.
    pub host: Host,
}

impl Estimate {
    /// The promised bytes of a phase.
    pub fn phase(&self, name: PhaseName) -> Option<u64> {
        self.phases.iter().find(|phase| phase.name == name).map(|phase| phase.allocated_bytes)
    }

    /// The upper end of what the process takes.
    pub fn needs(&self) -> Bytes {
        Bytes(self.peak.process.high)
    }
}

/// Estimates a setup: its engine's trace, replayed; where it only serves, the sums of [`inference`].
///
/// # Errors
/// A setup that its engine does not run.
pub fn estimate(setup: &Setup) -> Result<Estimate, CostError> {
    if let Some(serve) = setup.serve.as_ref().filter(|_| !setup.trains) {
        return Ok(served(setup, &inference(&setup.model, serve, &setup.device)?));
    }
    match setup.engine {
        EngineName::Memspec => own(setup),
        EngineName::Trl | EngineName::Unsloth => on_torch::estimate(setup),
    }
}

/// What serving takes, as an estimate of its one phase.
fn served(setup: &Setup, takes: &Inference) -> Estimate {
    let allocated = takes.weights.plus(takes.cache).plus(takes.workspace);
    let part = |what, setting, interval: Interval| AtPeak { what, setting, bytes: interval.bytes };
    let mut at_peak = vec![
        part("weights", "serve.precision", takes.weights),
        part("keys and values of conversations", "serve.concurrency", takes.cache),
        part("workspace of a prompt", "serve.context", takes.workspace),
    ];
    at_peak.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    let limit = setup.budget.device_memory.0;
    Estimate {
        name: setup.name.clone(),
        fits: takes.fits(limit),
        oom: None,
        limit_bytes: limit,
        device: setup.device.name.clone(),
        measured: false,
        peak: Peak { phase: PhaseName::Serve, allocated, reserved: allocated, process: takes.total },
        phases: vec![Phase {
            name: PhaseName::Serve,
            allocated_bytes: allocated.bytes,
            after_bytes: takes.weights.bytes + takes.cache.bytes,
        }],
        at_peak,
        host: Host::NONE,
    }
}

/// The executor's estimate.
fn own(setup: &Setup) -> Result<Estimate, CostError> {
    let replay = replay(&engine::memspec::trace(setup)?);
    let cpu = setup.device.kind == DeviceKind::Cpu;
    let host = engine::memspec::host(setup);
    let measured = cpu || engine::memspec::is_measured_on(&setup.device);
    // Tensors have the bytes that the trace says, within 0.5 %: the executor's tests on the CPU, and `benches/README.md` on cards.
    let allocated = Interval::around(replay.peak, if measured { 0.005 } else { 0.05 });
    let workspace = engine::memspec::workspace(setup);
    let (reserved, process) = if cpu {
        let reserved = allocated.plus(Interval::around(workspace, 0.5));
        (reserved, reserved.plus(Interval::around(engine::memspec::beside_tensors(setup), 0.5)))
    } else {
        // What CubeCL's pools hold beside tensors: 0.4 to 8.4 % in those runs.
        let reserved = match measured {
            true => Interval {
                bytes: replay.peak + replay.peak / 25 + workspace,
                low: replay.peak + workspace,
                high: replay.peak + replay.peak / 10 + workspace,
            },
            false => Interval {
                bytes: replay.peak + replay.peak / 20,
                low: replay.peak,
                high: replay.peak + replay.peak / 8,
            },
        };
        (reserved, reserved.plus(engine::memspec::context(setup)))
    };
    let limit = setup.budget.device_memory.0;
    Ok(Estimate {
        name: setup.name.clone(),
        fits: process.high <= limit,
        limit_bytes: limit,
        device: setup.device.name.clone(),
        measured,
        peak: Peak { phase: replay.peak_phase, allocated, reserved, process },
        oom: None,
        phases: replay.phases,
        at_peak: replay
            .at_peak
            .iter()
            .map(|&(part, bytes)| AtPeak { what: part.what, setting: part.setting, bytes })
            .collect(),
        host,
    })
}
