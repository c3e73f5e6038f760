//! What is alive when: the replay behind an estimate, in as many columns as a picture has.

use super::trace::{Event, Part, PhaseName, Trace};
use super::{CostError, engine, on_torch};
use crate::plan::EngineName;
use crate::setup::Setup;

/// The least columns of a phase: of this many in all, one.
const LEAST: usize = 24;

/// A run's memory, phase by phase, in the order in which it allocates. How wide a phase is does not say how long it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// What tensors are for; moments give their bytes in this order.
    pub parts: Vec<Part>,
    /// The phases as the run enters them: those of a step are there twice, as the first step is not like those after it.
    pub visits: Vec<Visit>,
}

/// A run in one of its phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The phase.
    pub phase: PhaseName,
    /// What it does from its beginning to its end, cut into equal numbers of allocations: of each piece, the moment when most is alive.
    pub columns: Vec<Moment>,
    /// What is alive when it ends.
    pub after: Moment,
}

/// What is alive at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Bytes that the allocator holds.
    pub reserved: u64,
    /// Bytes of live tensors by part.
    pub alive: Vec<u64>,
}

impl Moment {
    /// Bytes of live tensors.
    pub fn allocated(&self) -> u64 {
        self.alive.iter().sum()
    }
}

impl Visit {
    /// The moment when most is alive.
    pub fn highest(&self) -> &Moment {
        self.columns.iter().max_by_key(|moment| moment.allocated()).unwrap_or(&self.after)
    }
}

/// The memory of a setup's run, in about so many columns; `None` where nothing is replayed, as a plan that only serves is a sum.
///
/// # Errors
/// A setup that its engine does not run.
pub fn timeline(setup: &Setup, columns: usize) -> Result<Option<Timeline>, CostError> {
    Ok(match setup.engine {
        _ if !setup.trains => None,
        EngineName::Memspec => Some(own(&engine::memspec::trace(setup)?, columns)),
        EngineName::Trl | EngineName::Unsloth => Some(on_torch::timeline(setup, columns)?),
    })
}

/// With an allocator that gives each tensor exactly its bytes.
fn own(trace: &Trace, columns: usize) -> Timeline {
    let mut history = History::default();
    let mut live = 0;
    for event in trace.events() {
        match *event {
            Event::Enter(phase) => history.enter(phase),
            Event::Block(_) | Event::EmptyCache => {}
            Event::Allocate(tensor) => {
                let request = trace.request(tensor);
                live += request.bytes;
                history.note(request.part, request.bytes as i64, live);
            }
            Event::Free(tensor) => {
                let request = trace.request(tensor);
                live -= request.bytes;
                history.note(request.part, -(request.bytes as i64), live);
            }
        }
    }
    history.timeline(trace.parts(), columns)
}

/// Everything that a replay did, in order.
#[derive(Debug, Default)]
pub(super) struct History {
    steps: Vec<Step>,
    /// Each phase with its first step.
    entered: Vec<(PhaseName, usize)>,
}

/// An allocation, or one that is freed.
#[derive(Clone, Copy, Debug)]
struct Step {
    part: u16,
    bytes: i64,
    /// Bytes that the allocator holds then.
    reserved: u64,
}

impl History {
    /// A phase begins.
    pub(super) fn enter(&mut self, phase: PhaseName) {
        self.entered.push((phase, self.steps.len()));
    }

    /// Bytes of a part come, or go.
    pub(super) fn note(&mut self, part: u16, bytes: i64, reserved: u64) {
        self.steps.push(Step { part, bytes, reserved });
    }

    /// The same in columns.
    pub(super) fn timeline(&self, parts: &[Part], columns: usize) -> Timeline {
        let ends = self.entered.iter().skip(1).map(|entered| entered.1).chain([self.steps.len()]);
        let visits: Vec<(PhaseName, &[Step])> = self
            .entered
            .iter()
            .zip(ends)
            .map(|(&(phase, start), end)| (phase, &self.steps[start..end]))
            .filter(|(_, steps)| !steps.is_empty())
            .collect();
        // The root, as a phase of a thousand allocations would leave no room for one of ten.
        let weight = |steps: &[Step]| (steps.len() as f64).sqrt();
        let all: f64 = visits.iter().map(|(_, steps)| weight(steps)).sum();
        let mut now = Moment { reserved: 0, alive: vec![0; parts.len()] };
        let mut seen = |(phase, steps): &(PhaseName, &[Step])| {
            let wide = (columns as f64 * weight(steps) / all) as usize;
            let columns = cut(steps, wide.max(columns / LEAST).max(1), &mut now);
            Visit { phase: *phase, columns, after: now.clone() }
        };
        Timeline { parts: parts.to_vec(), visits: visits.iter().map(&mut seen).collect() }
    }
}

/// The highest moment of each of so many pieces. A piece without a step of its own is as the one before it left things.
fn cut(steps: &[Step], pieces: usize, now: &mut Moment) -> Vec<Moment> {
    let end = |piece: usize| piece * steps.len() / pieces;
    (0..pieces)
        .map(|piece| {
            let mut live = now.allocated() as i64;
            let mut highest = now.clone();
            let mut most = if end(piece) == end(piece + 1) { live } else { i64::MIN };
            for step in &steps[end(piece)..end(piece + 1)] {
                live += step.bytes;
                let alive = &mut now.alive[usize::from(step.part)];
                *alive = alive.saturating_add_signed(step.bytes);
                now.reserved = step.reserved;
                if live > most {
                    most = live;
                    highest.clone_from(now);
                }
            }
            highest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Part = Part { what: "a", setting: "s" };
    const B: Part = Part { what: "b", setting: "s" };

    #[test]
    fn every_column_is_the_highest_moment_of_its_piece() {
        let mut trace = Trace::default();
        trace.enter(PhaseName::Load);
        trace.allocate(A, 100).keep();
        trace.enter(PhaseName::Init);
        trace.enter(PhaseName::Forward);
        let b = trace.allocate(B, 30);
        trace.scratch(A, 5);
        trace.free(b);
        let seen = own(&trace, 4);
        let phases: Vec<PhaseName> = seen.visits.iter().map(|visit| visit.phase).collect();
        assert_eq!(phases, [PhaseName::Load, PhaseName::Forward], "a phase in which nothing happens is left out");
        let forward = &seen.visits[1];
        let alive: Vec<&[u64]> = forward.columns.iter().map(|moment| moment.alive.as_slice()).collect();
        assert_eq!(alive, [[105, 30], [100, 30]]);
        assert_eq!((forward.after.alive.as_slice(), forward.after.reserved), ([100, 0].as_slice(), 100));
        assert_eq!(forward.highest().allocated(), 135);
    }
}
