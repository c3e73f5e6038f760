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
    /// The lowest limit that no run has parted for.
    near: u64,
    /// A run has parted, and goes on.
    is_parted: bool,
}

/// A run under a limit, which is the one without until it comes near.
struct Branch<'t> {
    limit: u64,
    run: Option<Run<'t>>,
}

impl<'t> Branch<'t> {
    fn new(limit: u64) -> Self {
        Self { limit, run: None }
    }

    /// Parts from `free` where it may come to hold `bytes`, and that is too much. Returns the limit, unless it has parted.
    fn part(&mut self, free: &Run<'t>, bytes: u64) -> u64 {
        if self.run.is_none() && bytes > self.limit {
            let run = free.clone();
            self.run = Some(Run { memory: run.memory.under(self.limit), ..run });
        }
        if self.run.is_none() { self.limit } else { u64::MAX }
    }

    fn is_stopped(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.failure.is_some())
    }
}

impl<'t> Runs<'t> {
    fn new(trace: &'t Trace, tensors: usize, Limits { expandable, limit, safe }: Limits) -> Self {
        Self {
            free: Run::new(trace, tensors, Pool { limit: u64::MAX, expandable }),
            limited: Branch::new(limit),
            safe: Branch::new(safe),
            near: limit.min(safe),
            is_parted: false,
        }
    }

    /// Those under limits that go on beside the one without.
    fn parted(&mut self) -> impl Iterator<Item = &mut Run<'t>> {
        let runs = [self.limited.run.as_mut(), self.safe.run.as_mut()];
        runs.into_iter().flatten().filter(|run| run.failure.is_none())
    }

    /// A tensor like this one is allocated under the limits.
    fn allocate_parted(&mut self, like: u32) {
        for run in self.parted() {
            run.allocate(like);
        }
        // Where the limit stops the run, nobody asks what less of it does.
        if self.limited.is_stopped() {
            self.safe = Branch::new(u64::MAX);
            self.near = u64::MAX;
        }
        let is_parted = self.parted().next().is_some();
        self.is_parted = is_parted;
    }

    fn end(self) -> Forked {
        let end = |branch: Branch<'_>| branch.run.map(Run::end);
        Forked { free: self.free.end(), limited: end(self.limited), safe: end(self.safe) }
    }
}

impl Sink for Runs<'_> {
    fn tensors(&self) -> u32 {
        self.free.tensors()
    }

    fn allocate(&mut self, like: u32) -> u32 {
        // With a segment of its own, which it need not get: then it parts early.
        let bytes = self.free.memory.reserved() + allocation_size(self.free.trace.request(like).bytes);
        if bytes > self.near {
            self.near = self.limited.part(&self.free, bytes).min(self.safe.part(&self.free, bytes));
            self.is_parted = true;
        }
        if self.is_parted {
            self.allocate_parted(like);
        }
        self.free.allocate(like)
    }

    fn push(&mut self, event: Event) {
        if self.is_parted {
            self.parted().for_each(|run| run.push(event));
        }
        self.free.push(event);
    }
}
