//! Replaying a trace through PyTorch's caching allocator: allocated and reserved bytes, and where a limit stops it.

mod forked;
mod recorded;

use super::allocator::caching::{BlockId, Caching};
use super::estimate::{OutOfMemory, Phase};
use super::expand::Sink;
use super::trace::{Event, Part, PhaseName, Trace};
pub(super) use forked::{Forked, Limits};
pub(super) use recorded::{record, record_repeated};

/// How the allocator is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Bytes that it may reserve.
    pub limit: u64,
    /// `expandable_segments:True`.
    pub expandable: bool,
}

impl Pool {
    /// Without a limit.
    pub const UNLIMITED: Self = Self { limit: u64::MAX, expandable: false };
}

/// What the replay finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedReplay {
    /// The phases that ran, in the order of [`PhaseName::ALL`].
    pub phases: Vec<Phase>,
    /// The phase of the highest peak.
    pub peak_phase: PhaseName,
    /// The most bytes in blocks.
    pub peak: u64,
    /// The most bytes in segments.
    pub reserved: u64,
    /// How often the cache was flushed to make room.
    pub retries: u32,
    /// Bytes in blocks at the peak by part, the largest first; they add up to `peak`.
    pub at_peak: Vec<(Part, u64)>,
    /// Set where the limit stopped the run; the other figures are up to there.
    pub failure: Option<OutOfMemory>,
}

/// Replays `trace`.
pub fn replay_cached(trace: &Trace, pool: Pool) -> CachedReplay {
    let mut run = Run::new(trace, trace.tensors(), pool);
    drive(trace, &mut run);
    run.end()
}

/// Writes a trace as it is.
fn drive(trace: &Trace, sink: &mut impl Sink) {
    for event in trace.events() {
        match *event {
            Event::Allocate(tensor) => {
                sink.allocate(tensor);
            }
            event => sink.push(event),
        }
    }
}

/// A replay on its way.
#[derive(Clone)]
struct Run<'t> {
    trace: &'t Trace,
    memory: Caching,
    /// Of each tensor, while it is alive.
    blocks: Vec<Option<(BlockId, u32)>>,
    phase: PhaseName,
    /// Something came before: a phase that was entered, or a tensor.
    begun: bool,
    /// The most bytes in blocks since the phase began.
    highest: u64,
    /// Of each phase: the peak, and what is alive at its end.
    figures: [Option<(u64, u64)>; PhaseName::ALL.len()],
    peak: u64,
    peak_phase: PhaseName,
    parts: Parts,
    failure: Option<OutOfMemory>,
}

/// Bytes in blocks by the number of their part.
#[derive(Clone)]
struct Parts {
    now: Vec<u64>,
    at_peak: Vec<u64>,
    /// This is a peak; what is there is noted before something is freed.
    is_peak: bool,
}

impl<'t> Run<'t> {
    fn new(trace: &'t Trace, tensors: usize, pool: Pool) -> Self {
        let none = vec![0; trace.parts().len()];
        Self {
            trace,
            memory: Caching::new(pool.limit, pool.expandable),
            blocks: Vec::with_capacity(tensors),
            phase: PhaseName::Load,
            begun: false,
            highest: 0,
            figures: [None; PhaseName::ALL.len()],
            peak: 0,
            peak_phase: PhaseName::Load,
            parts: Parts { now: none.clone(), at_peak: none, is_peak: false },
            failure: None,
        }
    }

    /// A phase begins.
    fn enter(&mut self, phase: PhaseName) {
        if self.begun || !self.blocks.is_empty() {
            self.close();
        }
        self.begun = true;
        self.phase = phase;
        self.highest = self.memory.allocated();
    }

    /// The phase ends.
    fn close(&mut self) {
        let figure = self.figures[self.phase as usize].get_or_insert((0, 0));
        *figure = (figure.0.max(self.highest), self.memory.allocated());
    }

    fn free(&mut self, tensor: u32) {
        let Some((block, part)) = self.blocks[tensor as usize].take() else { return };
        if self.parts.is_peak {
            self.parts.at_peak.copy_from_slice(&self.parts.now);
            self.parts.is_peak = false;
        }
        self.parts.now[part as usize] -= self.memory.size(block);
        self.memory.release(block);
    }

    fn end(mut self) -> CachedReplay {
        self.close();
        let bytes = if self.parts.is_peak { self.parts.now } else { self.parts.at_peak };
        let mut at_peak: Vec<(Part, u64)> =
            self.trace.parts().iter().copied().zip(bytes).filter(|(_, bytes)| *bytes > 0).collect();
        at_peak.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let phases = PhaseName::ALL.into_iter().filter_map(|name| {
            let (allocated_bytes, after_bytes) = self.figures[name as usize]?;
            Some(Phase { name, allocated_bytes, after_bytes })
        });
        CachedReplay {
            phases: phases.collect(),
            peak_phase: self.peak_phase,
            peak: self.peak,
            reserved: self.memory.peak_reserved(),
            retries: self.memory.retries(),
            at_peak,
            failure: self.failure,
        }
    }
}

impl Sink for Run<'_> {
    fn tensors(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn allocate(&mut self, like: u32) -> u32 {
        let index = self.tensors();
        if self.failure.is_some() {
            self.blocks.push(None);
            return index;
        }
        let request = self.trace.request(like);
        match self.memory.allocate(request.bytes, request.stream) {
            Ok(block) => {
                self.blocks.push(Some((block, u32::from(request.part))));
                self.parts.now[usize::from(request.part)] += self.memory.size(block);
                let now = self.memory.allocated();
                self.highest = self.highest.max(now);
                if now > self.peak {
                    (self.peak, self.peak_phase, self.parts.is_peak) = (now, self.phase, true);
                }
            }
            Err(refused) => {
                self.blocks.push(None);
                self.failure = Some(OutOfMemory {
                    phase: self.phase,
                    tried_bytes: refused.tried,
                    allocated_bytes: refused.allocated,
                    reserved_bytes: refused.reserved,
                });
            }
        }
        index
    }

    fn push(&mut self, event: Event) {
        // The run ends where it fails.
        if self.failure.is_some() {
            return;
        }
        match event {
            Event::Enter(phase) => self.enter(phase),
            Event::Free(tensor) => self.free(tensor),
            Event::EmptyCache => self.memory.empty_cache(),
            Event::Allocate(_) | Event::Block(_) => {}
        }
    }
}
