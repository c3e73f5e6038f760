//! Estimates of engines on PyTorch: the trace through the caching allocator, and what a process holds beside it.

use super::cached::{Forked, Limits, record, record_repeated};
use super::estimate::{AtPeak, Estimate, Host, Interval, Peak};
use super::expand::Blocks;
use super::known::{Known, is_measured};
use super::{CachedReplay, CostError, Pool, Timeline, Trace, engine};
use crate::plan::{EngineName, ParallelKind, QuantizeKind};
use crate::quantity::Bytes;
use crate::setup::Setup;

const MIB: u64 = 1 << 20;

/// Estimates a setup of the engines `trl` and `unsloth`.
pub(super) fn estimate(setup: &Setup) -> Result<Estimate, CostError> {
    let (few, blocks) = few(setup)?;
    let beside = beside_pool(setup);
    let replays = Replays::of(setup, &few, blocks, beside)?;
    Ok(made(setup, &replays.free, replays.held.as_ref(), beside))
}

/// What is alive when, in the replay that the estimate is of.
pub(super) fn timeline(setup: &Setup, columns: usize) -> Result<Timeline, CostError> {
    let (few, blocks) = few(setup)?;
    let replays = Replays::of(setup, &few, blocks, beside_pool(setup))?;
    let pool = Pool { limit: replays.limit(), expandable: setup.train.expandable_segments };
    if let Some(history) = blocks.and_then(|blocks| record_repeated(&few, blocks, pool)) {
        return Ok(history.timeline(few.parts(), columns));
    }
    let full = if blocks.is_some() { in_full(setup)? } else { few };
    Ok(record(&full, pool).timeline(full.parts(), columns))
}

/// A run without a limit, and, where that is not enough to know whether it fits, under one.
struct Replays {
    free: CachedReplay,
    held: Option<CachedReplay>,
    /// The limit of `held`.
    safe: u64,
}

impl Replays {
    fn of(setup: &Setup, few: &Trace, blocks: Option<Blocks>, beside: Interval) -> Result<Self, CostError> {
        let budget = setup.budget.device_memory.0;
        // A plan has to fit on every rank, also where NCCL takes most.
        let limit = setup.budget.allocator.map_or_else(|| budget.saturating_sub(beside.high), |limit| limit.0);
        let safe = (limit as f64 * (1.0 - Known::of(setup).edge)) as u64;
        let limits = Limits { expandable: setup.train.expandable_segments, limit, safe };
        let all = match blocks {
            None => Some(Forked::of(few, limits)),
            Some(blocks) => Forked::repeated(few, blocks, limits),
        };
        let Forked { free, limited, safe: with_less } = match all {
            Some(all) => all,
            None => Forked::of(&in_full(setup)?, limits),
        };
        // Under a limit the allocator gives its cache back and goes on, so what it would like to hold does not decide.
        // Near the edge small changes decide: it has to fit with the limit and with a little less.
        let held = match limited.filter(|limited| limited.failure.is_some()) {
            _ if free.reserved <= safe => None,
            Some(failed) => Some(failed),
            None => with_less,
        };
        Ok(Self { free, held, safe })
    }

    /// The limit under which the run is as the estimate says: none, unless it fits only so.
    fn limit(&self) -> u64 {
        self.held.as_ref().filter(|held| held.failure.is_none()).map_or(u64::MAX, |_| self.safe)
    }
}

/// The peak of allocated bytes alone, without the allocator's replay: for whoever asks often. It lacks the unused ends of blocks (up to 1 MiB each), which
/// the replay counts as allocated too, and what only the first step has.
///
/// # Errors
/// A setup that its engine does not cost.
pub fn peak_allocated(setup: &Setup) -> Result<u64, CostError> {
    match setup.engine {
        _ if !setup.trains => Ok(super::estimate(setup)?.peak.allocated.bytes),
        EngineName::Trl => engine::trl::peak(setup),
        EngineName::Unsloth => engine::unsloth::peak(setup),
        EngineName::Memspec => Ok(super::estimate(setup)?.peak.allocated.bytes),
    }
}

/// What a setup takes, beside what it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// What the process takes.
    pub needs: Bytes,
    /// What it may take.
    pub limit: Bytes,
}

impl Demand {
    /// It does not fit.
    pub fn is_too_much(self) -> bool {
        self.needs > self.limit
    }
}

/// What a setup takes at least: its tensors, and what the process holds beside them, without the allocator's replay. Where that is too much it does
/// not fit; else [`estimate`](super::estimate) has to say.
///
/// # Errors
/// A setup that its engine does not cost.
pub fn least_demand(setup: &Setup) -> Result<Demand, CostError> {
    if !setup.trains || setup.engine == EngineName::Memspec {
        let estimate = super::estimate(setup)?;
        return Ok(Demand { needs: estimate.needs(), limit: Bytes(estimate.limit_bytes) });
    }
    let tensors = peak_allocated(setup)?;
    let (needs, limit) = match setup.budget.allocator {
        Some(limit) => (tensors, limit),
        None => (tensors + beside_pool(setup).high, setup.budget.device_memory),
    };
    Ok(Demand { needs: Bytes(needs), limit })
}

/// The trace of few blocks, and how many they stand for; `None`: it is that of all.
fn few(setup: &Setup) -> Result<(Trace, Option<Blocks>), CostError> {
    match setup.engine {
        EngineName::Trl => engine::trl::few(setup),
        EngineName::Unsloth => engine::unsloth::few(setup).map(|(few, blocks)| (few, Some(blocks))),
        EngineName::Memspec => Err(not_on_torch(setup)),
    }
}

/// The trace of all blocks: where few do not stand for them.
fn in_full(setup: &Setup) -> Result<Trace, CostError> {
    match setup.engine {
        EngineName::Trl => engine::trl::trace_in_full(setup),
        EngineName::Unsloth => engine::unsloth::trace_in_full(setup),
        EngineName::Memspec => Err(not_on_torch(setup)),
    }
}

fn not_on_torch(setup: &Setup) -> CostError {
    let what = format!("the engine `{}` is not costed on PyTorch", setup.engine);
    CostError::Unsupported { setting: "engine", what }
}

fn made(setup: &Setup, free: &CachedReplay, held: Option<&CachedReplay>, beside: Interval) -> Estimate {
    let known = Known::of(setup);
    let oom = held.and_then(|held| held.failure);
    // What fits only with a flushed cache holds what the limit leaves it.
    let in_segments = held.filter(|held| held.failure.is_none()).map_or(free.reserved, |held| held.reserved);
    let reserved = Interval::around(in_segments, known.reserved);
    let process = reserved.plus(beside);
    Estimate {
        name: setup.name.clone(),
        fits: oom.is_none(),
        oom,
        limit_bytes: setup.budget.allocator.unwrap_or(setup.budget.device_memory).0,
        device: setup.device.name.clone(),
        measured: is_measured(setup),
        peak: Peak {
            phase: free.peak_phase,
            allocated: Interval::around(free.peak, known.allocated),
            reserved,
            process,
        },
        phases: free.phases.clone(),
        at_peak: free
            .at_peak
            .iter()
            .map(|&(part, bytes)| AtPeak { what: part.what, setting: part.setting, bytes })
            .collect(),
        host: Host::NONE,
    }
}

/// Bytes that the process holds on the card beside the allocator's segments: what was measured on the card, else what was measured one by one on an
/// H200 with CUDA 13.0.
///
/// The context is there before anything else. Each thread that multiplies makes a cuBLAS handle (64 MiB; forward and backward: two). Kernels with
/// local memory take 8 MiB when they are first launched: fused attention forward, and backward. Modules of kernels that are loaded late take 2 MiB.
fn beside_pool(setup: &Setup) -> Interval {
    if setup.device.kernels_bytes.is_some() {
        let fixed = setup.device.occupied().0;
        return nccl(setup).plus(Interval { bytes: fixed, low: fixed, high: fixed });
    }
    let fused = !matches!(setup.train.attention, crate::plan::Attention::Eager)
        && setup.train.precision != crate::plan::Precision::F32;
    let handles = 2 * 64 * MIB;
    let modules = 2 * MIB;
    let attention = if fused { 2 * 8 * MIB } else { 0 };
    // LLM.int8's igemm has a cublasLt handle of its own.
    let int8 = setup.quantize.as_ref().is_some_and(|quantize| quantize.kind == QuantizeKind::Int8);
    let int8 = if int8 { 64 * MIB } else { 0 };
    let vision = if setup.model.vision.is_some() && setup.data.images > 0 { 2 * MIB } else { 0 };
    let experts = if setup.model.experts.is_some() { 2 * MIB } else { 0 };
    // A second stream with copies to and from the host.
    let offload = setup.engine == EngineName::Unsloth && setup.train.activation_offload;
    let offload = if offload { 70 * MIB } else { 0 };
    let fixed = setup.device.context_bytes.0 + handles + modules + attention + int8 + vision + experts + offload;
    nccl(setup).plus(Interval { bytes: fixed, low: fixed, high: fixed })
}

/// What NCCL holds: the buffers of its channels, on the rank where that is most. Measured with two H200s without NVLS.
///
/// Every run all-reduces, gathers or scatters. FSDP2 also broadcasts the weights that the first rank loaded, which connects the channels once more: 120 MiB
/// on that rank, which is the lower end here, and 256 MiB more on the others.
///
/// A ring's two connections do not depend on the number of ranks, and what they hold grows with the number of channels, which is that of the card's links
/// (<https://github.com/NVIDIA/nccl/issues/986>): cards that do not hang on an NVSwitch have fewer. With more than two cards on one, multicast (NVLS) takes
/// 32 MiB for each of them (`src/transport/nvls.cc`: 16 channels, two directions, 8 steps of 128 KiB), and trees connect as rings do.
fn nccl(setup: &Setup) -> Interval {
    let Some(parallel) = setup.parallel.filter(|parallel| parallel.world() > 1) else {
        return Interval { bytes: 0, low: 0, high: 0 };
    };
    let (first, most) = match parallel.kind {
        ParallelKind::Fsdp2 if setup.quantize.is_none() => (968 * MIB, 1224 * MIB),
        ParallelKind::Fsdp2 => (844 * MIB, 844 * MIB),
        // DeepSpeed also broadcasts the model, unless it is in parts.
        ParallelKind::Zero1 | ParallelKind::Zero2 => (1334 * MIB, 1334 * MIB),
        ParallelKind::Zero3 => (1044 * MIB, 1044 * MIB),
        _ => (848 * MIB, 848 * MIB),
    };
    let switched = setup.device.compute_capability.is_some_and(|(major, _)| matches!(major, 9 | 10));
    let low = if switched { first } else { first / 4 };
    let (multicast, trees) = match (parallel.world(), switched) {
        (2, _) => (0, 0),
        (_, true) => (32 * MIB * u64::from(parallel.gpus), first),
        (_, false) => (0, first),
    };
    Interval { bytes: most + multicast, low, high: most + multicast + trees }
}
