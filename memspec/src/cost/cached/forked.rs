//! Replays under limits beside the one without: until a limit matters they are the same run, which is gone through once.

use super::{CachedReplay, Pool, Run, drive};
use crate::cost::allocator::caching::allocation_size;
use crate::cost::expand::{self, Blocks, Sink};
use crate::cost::trace::{Event, Trace};

/// How the allocator is set, and what it may reserve.
#[derive(Clone, Copy, Debug)]
pub(in crate::cost) struct Limits {
    /// `expandable_segments:True`.
    pub(in crate::cost) expandable: bool,
    /// What it may reserve.
    pub(in crate::cost) limit: u64,
    /// A little less.
    pub(in crate::cost) safe: u64,
}

/// What the replays find.
pub(in crate::cost) struct Forked {
    /// Without a limit.
    pub(in crate::cost) free: CachedReplay,
    /// Under the limit, where the run comes near it.
    pub(in crate::cost) limited: Option<CachedReplay>,
    /// With a little less, likewise; `None`, too, where the limit stops the run.
    pub(in crate::cost) safe: Option<CachedReplay>,
}

impl Forked {
    /// Replays `trace`.
    pub(in crate::cost) fn of(trace: &Trace, limits: Limits) -> Self {
        let mut runs = Runs::new(trace, trace.tensors(), limits);
        drive(trace, &mut runs);
        runs.end()
    }

    /// Replays the trace of `to` blocks that `short` stands for, without writing it out; `None` where it has to be.
    pub(in crate::cost) fn repeated(short: &Trace, to: Blocks, limits: Limits) -> Option<Self> {
        let mut runs = Runs::new(short, short.tensors() * to.times(), limits);
        expand::write(short, to, &mut runs)?;
        Some(runs.end())
    }
}

struct Runs<'t> {
    free: Run<'t>,
    limited: Branch<'t>,
    safe: Branch<'t>,
}

/// A run under a limit, which is the one without until it comes near.
struct Branch<'t> {
    limit: u64,
    run: Option<Run<'t>>,
}

impl<'t> Branch<'t> {
    /// Parts from `free` where a segment for the next tensor would be too much. That the tensor may need none only makes it early.
    fn part(&mut self, free: &Run<'t>, segment: u64) {
        if self.run.is_none() && free.memory.reserved() + segment > self.limit {
            let run = free.clone();
            self.run = Some(Run { memory: run.memory.under(self.limit), ..run });
        }
    }

    fn is_stopped(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.failure.is_some())
    }
}

impl<'t> Runs<'t> {
    fn new(trace: &'t Trace, tensors: usize, Limits { expandable, limit, safe }: Limits) -> Self {
        Self {
            free: Run::new(trace, tensors, Pool { limit: u64::MAX, expandable }),
            limited: Branch { limit, run: None },
            safe: Branch { limit: safe, run: None },
        }
    }

    /// Those under limits that go on beside the one without. Where the limit stops the run, nobody asks what less of it does.
    fn parted(&mut self) -> impl Iterator<Item = &mut Run<'t>> {
        let safe = if self.limited.is_stopped() { None } else { self.safe.run.as_mut() };
        [self.limited.run.as_mut(), safe].into_iter().flatten().filter(|run| run.failure.is_none())
    }

    fn end(self) -> Forked {
        let safe = if self.limited.is_stopped() { None } else { self.safe.run.map(Run::end) };
        Forked { free: self.free.end(), limited: self.limited.run.map(Run::end), safe }
    }
}

impl Sink for Runs<'_> {
    fn tensors(&self) -> u32 {
        self.free.tensors()
    }

    fn allocate(&mut self, like: u32) -> u32 {
        let segment = allocation_size(self.free.trace.request(like).bytes);
        self.limited.part(&self.free, segment);
        self.safe.part(&self.free, segment);
        self.parted().for_each(|run| {
            run.allocate(like);
        });
        self.free.allocate(like)
    }

    fn push(&mut self, event: Event) {
        self.parted().for_each(|run| run.push(event));
        self.free.push(event);
    }
}
