//! Writing out a trace of few blocks as the trace of many: a model's middle blocks allocate alike, so an engine's program is run on
//! [`FEW`] blocks of each stack and its middle one is repeated.
//!
//! The program says of every event which block it is of ([`Event::Block`]). A free names a tensor of the same block, of a neighbour, or of none, so
//! it means the same thing relative to the repeated block. Where a trace does not have that form, [`expand`] says so and the program is run in full.

use super::trace::{Block, Event, Stack, Trace};

/// Blocks of a stack that stand for any larger number: the first and last two, which may differ, and one between.
pub const FEW: u64 = 5;
/// The one between.
const MIDDLE: u64 = 2;

/// How many blocks each stack has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// The decoder's.
    pub text: u64,
    /// The vision tower's.
    pub vision: u64,
}

impl Blocks {
    /// As many as stand for these.
    pub fn few(self) -> Self {
        Self { text: self.text.min(FEW), vision: self.vision.min(FEW) }
    }

    /// How many times longer a trace of so many may be than that of few.
    pub(crate) fn times(self) -> usize {
        (self.text.div_ceil(self.few().text.max(1)) + 1) as usize
    }

    fn of(self, stack: Stack) -> u64 {
        match stack {
            Stack::Text => self.text,
            Stack::Vision => self.vision,
        }
    }
}

/// Where a tensor of the short trace was allocated.
#[derive(Clone, Copy)]
enum Origin {
    /// Outside of any run of blocks: its index in the long trace.
    Outside(u32),
    /// In a run: which, the block there, and its place among those allocated in that block.
    Run { run: u32, block: u16, place: u32 },
}

/// Consecutive segments of one stack's blocks, each once, up or down.
struct Run {
    /// Of each short block: the first event after its mark, and the one after its last.
    segments: Vec<(usize, usize)>,
    descending: bool,
    stack: Stack,
    /// Of each block of the long trace: index of its first tensor there.
    bases: Vec<u32>,
}

/// What a trace is written into, event by event.
pub(crate) trait Sink {
    /// How many tensors there were.
    fn tensors(&self) -> u32;
    /// A tensor like this one of the short trace is allocated; returns its index in the long one.
    fn allocate(&mut self, like: u32) -> u32;
    /// Anything else happens.
    fn push(&mut self, event: Event);
}

impl Sink for Trace {
    fn tensors(&self) -> u32 {
        self.tensors() as u32
    }

    fn allocate(&mut self, like: u32) -> u32 {
        self.add_like(like)
    }

    fn push(&mut self, event: Event) {
        self.push(event);
    }
}

/// The trace of `to` blocks from `short`, which was recorded with `to.few()`; `None` where the trace cannot be repeated.
pub fn expand(short: &Trace, to: Blocks) -> Option<Trace> {
    let mut long = Trace::like(short, to.times());
    write(short, to, &mut long)?;
    Some(long)
}

/// Writes the trace of `to` blocks into `long`; `None` as for [`expand`], and what was written until then is of no use.
pub(crate) fn write(short: &Trace, to: Blocks, long: &mut impl Sink) -> Option<()> {
    let few = to.few();
    let events = short.events();
    if to == few {
        for event in events {
            match *event {
                Event::Allocate(tensor) => {
                    long.allocate(tensor);
                }
                event => long.push(event),
            }
        }
        return Some(());
    }
    let mut origins = vec![Origin::Outside(u32::MAX); short.tensors()];
    let mut runs: Vec<Run> = Vec::new();
    let mut at = 0;
    while at < events.len() {
        match events[at] {
            Event::Block(Some(first)) => {
                let run = read_run(events, at, first, few)?;
                let end = run.segments.iter().map(|segment| segment.1).max()?;
                let number = runs.len() as u32;
                for (block, &(from, until)) in run.segments.iter().enumerate() {
                    let mut place = 0;
                    for event in &events[from..until] {
                        if let Event::Allocate(tensor) = *event {
                            origins[tensor as usize] = Origin::Run { run: number, block: block as u16, place };
                            place += 1;
                        }
                    }
                }
                runs.push(run);
                write_run(short, long, &mut runs, &origins, to)?;
                at = end;
                continue;
            }
            Event::Allocate(tensor) => origins[tensor as usize] = Origin::Outside(long.allocate(tensor)),
            Event::Free(tensor) => {
                let index = match origins[tensor as usize] {
                    Origin::Outside(index) => index,
                    Origin::Run { run, block, place } => runs[run as usize].widen(block, to)? + place,
                };
                long.push(Event::Free(index));
            }
            event => long.push(event),
        }
        at += 1;
    }
    Some(())
}

/// The peak of what is alive in the trace of `to` blocks, each tensor rounded up to 512 bytes, without writing it out: a repeated block adds what it keeps
/// each time, and its own highest point is that of its first or its last time. `None` as for [`expand`].
pub fn peak(short: &Trace, to: Blocks) -> Option<u64> {
    let few = to.few();
    let events = short.events();
    let bytes = |tensor: u32| short.tensor(tensor).bytes.max(1).div_ceil(512) as i64 * 512;
    // What is kept by a part of the trace, and its highest point.
    let walk = |events: &[Event]| {
        let (mut live, mut highest) = (0i64, 0i64);
        for event in events {
            match *event {
                Event::Allocate(tensor) => live += bytes(tensor),
                Event::Free(tensor) => live -= bytes(tensor),
                _ => {}
            }
            highest = highest.max(live);
        }
        (live, highest)
    };
    let (mut live, mut highest) = (0i64, 0i64);
    let mut at = 0;
    while at < events.len() {
        let Event::Block(Some(first)) = events[at] else {
            let (kept, high) = walk(&events[at..=at]);
            highest = highest.max(live + high);
            live += kept;
            at += 1;
            continue;
        };
        let run = read_run(events, at, first, few)?;
        let more = (to.of(run.stack) - few.of(run.stack)) as i64;
        let order = 0..run.segments.len();
        let order: Vec<usize> = if run.descending { order.rev().collect() } else { order.collect() };
        for index in order {
            let (from, until) = run.segments[index];
            let (kept, high) = walk(&events[from..until]);
            let times = if index == MIDDLE as usize && more > 0 { 1 + more } else { 1 };
            highest = highest.max(live + high).max(live + (times - 1) * kept + high);
            live += times * kept;
        }
        at = run.segments.iter().map(|segment| segment.1).max()?;
    }
    u64::try_from(highest).ok()
}

impl Run {
    /// The index of a short block's first tensor in the long trace, where the block is named from elsewhere: that is sure only of those at the ends,
    /// counted from the nearer one.
    fn widen(&self, block: u16, to: Blocks) -> Option<u32> {
        let (block, to) = (u64::from(block), to.of(self.stack));
        if block == MIDDLE && to > FEW {
            return None;
        }
        let few = to.min(FEW);
        let index = if block <= MIDDLE { block } else { to - (few - block) };
        self.bases.get(index as usize).copied()
    }
}

fn read_run(events: &[Event], start: usize, first: Block, few: Blocks) -> Option<Run> {
    let count = few.of(first.stack) as usize;
    let mut marks = Vec::with_capacity(count);
    let mut at = start;
    while let Some(Event::Block(Some(block))) = events.get(at) {
        if block.stack != first.stack || marks.len() == count {
            break;
        }
        let length = events[at + 1..]
            .iter()
            .position(|event| matches!(event, Event::Block(_) | Event::Enter(_)))
            .unwrap_or(events.len() - at - 1);
        marks.push((block.index, (at + 1, at + 1 + length)));
        at += 1 + length;
    }
    let descending = first.index != 0;
    let mut segments = vec![(0, 0); count];
    for (place, (index, segment)) in marks.iter().enumerate() {
        let expected = if descending { count - 1 - place } else { place };
        if usize::from(*index) != expected {
            return None;
        }
        segments[expected] = *segment;
    }
    (marks.len() == count).then_some(Run { segments, descending, stack: first.stack, bases: Vec::new() })
}

/// Writes the newest of `runs` out.
fn write_run(short: &Trace, long: &mut impl Sink, runs: &mut [Run], origins: &[Origin], to: Blocks) -> Option<()> {
    let number = runs.len() - 1;
    let (stack, descending) = (runs[number].stack, runs[number].descending);
    let count = to.of(stack);
    let few = count.min(FEW);
    runs[number].bases = vec![u32::MAX; count as usize];
    for place in 0..count {
        let index = if descending { count - 1 - place } else { place };
        let from_end = count - 1 - index;
        let template = if index < MIDDLE {
            index
        } else if from_end < few - 1 - MIDDLE {
            few - 1 - from_end
        } else {
            MIDDLE
        };
        runs[number].bases[index as usize] = long.tensors();
        long.push(Event::Block(Some(Block { stack, index: index as u16 })));
        let (from, until) = runs[number].segments[template as usize];
        for event in &short.events()[from..until] {
            match *event {
                Event::Allocate(tensor) => {
                    long.allocate(tensor);
                }
                Event::Free(tensor) => {
                    let index = match origins[tensor as usize] {
                        Origin::Outside(index) => index,
                        Origin::Run { run, block, place } => {
                            let run = &runs[run as usize];
                            // A neighbour; what is farther is named from its end of the stack.
                            let base = if run.stack == stack && u64::from(block).abs_diff(template) <= 2 {
                                let there = index as i64 + i64::from(block) - template as i64;
                                *run.bases.get(usize::try_from(there).ok()?)?
                            } else if template == MIDDLE {
                                return None;
                            } else {
                                run.widen(block, to)?
                            };
                            base + place
                        }
                    };
                    long.push(Event::Free(index));
                }
                event => long.push(event),
            }
        }
    }
    Some(())
}
