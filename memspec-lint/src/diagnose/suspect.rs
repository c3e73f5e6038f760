//! Which allocation of a plan's trace it was.

use memspec::cost::allocator::caching::allocation_size;
use memspec::cost::{Block, Event, PhaseName, Stack, Trace};
use schemars::JsonSchema;
use serde::Serialize;

use super::log::{Death, Found, Refusal};

/// An allocation that may have been refused.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Suspect {
    /// Its place in the run.
    pub place: Place,
    /// What it is.
    pub what: &'static str,
    /// The setting that decides how large it is.
    pub setting: &'static str,
    /// Bytes of the tensor.
    pub bytes: u64,
    /// Bytes that PyTorch asks the driver for when none of its blocks holds it.
    pub asks: u64,
    /// Bytes of the tensors that are alive before it.
    pub alive: u64,
    /// It asks for as much as the message says; else it is the one that comes nearest.
    pub same_size: bool,
}

/// A place in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The phase.
    pub phase: PhaseName,
    /// The block of the model, from 1; none outside of the blocks.
    pub block: Option<u32>,
    /// That block is of the vision tower.
    pub vision: bool,
}

impl Suspect {
    /// The phase and what is in tensors before it are as the log says, as far as it does.
    pub fn is_likely(&self, found: &Found) -> bool {
        let allocated = match &found.death {
            Death::Refused(refusal) => refusal.allocated,
            _ => None,
        };
        let as_much = |allocated: u64| self.alive.abs_diff(allocated) as f64 <= NEAR * allocated as f64;
        found.phase.is_none_or(|phase| same(phase, self.place.phase)) && allocated.is_none_or(as_much)
    }
}

/// Memory is given in multiples of this.
const GRAIN: u64 = 512;
/// Figures that are further off are of something else.
const NEAR: f64 = 0.1;

/// The allocation of a trace that asks for as much as the message says, in the phase that its traceback shows if there is one, and where about as
/// much is in tensors as it says; else the one that comes nearest to it.
pub(super) fn find(trace: &Trace, refusal: &Refusal, phase: Option<PhaseName>) -> Option<Suspect> {
    let tried = refusal.tried?;
    let off = |suspect: &Suspect| {
        let other_phase = phase.is_some_and(|phase| !same(phase, suspect.place.phase));
        (other_phase, refusal.allocated.map_or(u64::MAX - suspect.alive, |allocated| allocated.abs_diff(suspect.alive)))
    };
    let (exact, others): (Vec<_>, Vec<_>) = allocations(trace).partition(|one| is_printed_as(one.asks, tried));
    let exact = exact.into_iter().min_by_key(off).map(|one| Suspect { same_size: true, ..one });
    exact.or_else(|| {
        let near = |one: &Suspect| one.asks.abs_diff(tried) as f64 <= NEAR * tried as f64;
        others.into_iter().filter(near).min_by_key(|one| (off(one).0, one.asks.abs_diff(tried), off(one).1))
    })
}

/// The loss is forward's where an engine has no phase of its own for it.
fn same(shown: PhaseName, traced: PhaseName) -> bool {
    shown == traced || (shown == PhaseName::Forward && traced == PhaseName::Loss)
}

/// Every allocation of a trace, with what is alive before it.
fn allocations(trace: &Trace) -> impl Iterator<Item = Suspect> {
    let (mut phase, mut block, mut alive) = (PhaseName::Load, None, 0);
    let rounded = |bytes: u64| bytes.div_ceil(GRAIN) * GRAIN;
    trace.events().iter().filter_map(move |event| {
        match *event {
            Event::Enter(next) => phase = next,
            Event::Block(next) => block = next,
            Event::EmptyCache => {}
            Event::Free(tensor) => alive -= rounded(trace.tensor(tensor).bytes),
            Event::Allocate(tensor) => {
                let entry = trace.tensor(tensor);
                let suspect = Suspect {
                    place: place(phase, block),
                    what: entry.part.what,
                    setting: entry.part.setting,
                    bytes: entry.bytes,
                    asks: allocation_size(entry.bytes),
                    alive,
                    same_size: false,
                };
                alive += rounded(entry.bytes);
                return Some(suspect);
            }
        }
        None
    })
}

fn place(phase: PhaseName, block: Option<Block>) -> Place {
    Place {
        phase,
        block: block.map(|block| u32::from(block.index) + 1),
        vision: block.is_some_and(|block| block.stack == Stack::Vision),
    }
}

/// The bytes are printed as the figure is, which was read from print: with two digits behind the point.
fn is_printed_as(bytes: u64, read: u64) -> bool {
    let unit = match read {
        0..0x10_0000 => 1 << 10,
        0x10_0000..0x4000_0000 => 1 << 20,
        _ => 1_u64 << 30,
    };
    bytes.abs_diff(read) as f64 <= 0.0051 * unit as f64
}
