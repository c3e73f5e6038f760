//! A replay through the caching allocator that notes everything it did.

use super::super::expand::{self, Blocks, Sink};
use super::super::timeline::History;
use super::super::trace::{Event, Trace};
use super::{Pool, Run, drive};

/// What a replay of `trace` did.
pub(crate) fn record(trace: &Trace, pool: Pool) -> History {
    let mut recorded = Recorded::new(trace, trace.tensors(), pool);
    drive(trace, &mut recorded);
    recorded.history
}

/// What a replay of the trace of `to` blocks that `short` stands for did; `None` where it has to be written out.
pub(crate) fn record_repeated(short: &Trace, to: Blocks, pool: Pool) -> Option<History> {
    let mut recorded = Recorded::new(short, short.tensors() * to.times(), pool);
    expand::write(short, to, &mut recorded)?;
    Some(recorded.history)
}

struct Recorded<'t> {
    run: Run<'t>,
    history: History,
}

impl<'t> Recorded<'t> {
    fn new(trace: &'t Trace, tensors: usize, pool: Pool) -> Self {
        Self { run: Run::new(trace, tensors, pool), history: History::default() }
    }

    /// Part and bytes of a tensor that is alive.
    fn alive(&self, tensor: u32) -> Option<(u16, i64)> {
        let (block, part) = self.run.blocks[tensor as usize]?;
        Some((part as u16, self.run.memory.size(block) as i64))
    }
}

impl Sink for Recorded<'_> {
    fn tensors(&self) -> u32 {
        self.run.tensors()
    }

    fn allocate(&mut self, like: u32) -> u32 {
        let index = self.run.allocate(like);
        if let Some((part, bytes)) = self.alive(index) {
            self.history.note(part, bytes, self.run.memory.reserved());
        }
        index
    }

    fn push(&mut self, event: Event) {
        let freed = match event {
            Event::Free(tensor) => self.alive(tensor),
            _ => None,
        };
        self.run.push(event);
        let reserved = self.run.memory.reserved();
        match (event, freed) {
            (Event::Enter(phase), _) => self.history.enter(phase),
            (_, Some((part, bytes))) => self.history.note(part, -bytes, reserved),
            (Event::EmptyCache, None) => self.history.note(0, 0, reserved),
            _ => {}
        }
    }
}
