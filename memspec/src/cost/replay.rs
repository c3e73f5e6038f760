//! Replaying a trace: live bytes, their peak, and what is alive then.

use super::estimate::Phase;
use super::trace::{Event, Part, PhaseName, Trace};

/// What a replay finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The phases that the trace has, in the order of [`PhaseName::ALL`]. A phase that it enters more than once has the peak of
    /// all its times, and what is alive after the last.
    pub phases: Vec<Phase>,
    /// The phase of the highest peak.
    pub peak_phase: PhaseName,
    /// The highest peak: live tensors' bytes.
    pub peak: u64,
    /// Live bytes at the peak by part, the largest first; they add up to `peak`.
    pub at_peak: Vec<(Part, u64)>,
}

/// Replays `trace` with an allocator that gives each tensor exactly its bytes, as the CPU's does.
pub fn replay(trace: &Trace) -> Replay {
    let mut live = 0;
    let mut phase = PhaseName::Load;
    // Of each phase: the peak, and what is alive at its end.
    let mut phases: [Option<(u64, u64)>; PhaseName::ALL.len()] = [None; PhaseName::ALL.len()];
    let (mut peak, mut peak_phase, mut peak_at) = (0, phase, 0);
    for (at, event) in trace.events().iter().enumerate() {
        match *event {
            Event::Enter(next) => phase = next,
            Event::Block(_) | Event::EmptyCache => {}
            Event::Allocate(index) => live += trace.tensor(index).bytes,
            Event::Free(index) => live -= trace.tensor(index).bytes,
        }
        let (highest, after) = phases[phase as usize].get_or_insert((0, 0));
        (*highest, *after) = (live.max(*highest), live);
        if live > peak {
            (peak, peak_phase, peak_at) = (live, phase, at);
        }
    }
    let phases = PhaseName::ALL
        .into_iter()
        .filter_map(|name| {
            let (allocated_bytes, after_bytes) = phases[name as usize]?;
            Some(Phase { name, allocated_bytes, after_bytes })
        })
        .collect();
    Replay { phases, peak_phase, peak, at_peak: live_parts(trace, peak_at) }
}

/// Live bytes by part after the event at `at`.
fn live_parts(trace: &Trace, at: usize) -> Vec<(Part, u64)> {
    let mut parts: Vec<(Part, u64)> = trace.parts().iter().map(|&part| (part, 0)).collect();
    for event in trace.events().iter().take(at + 1) {
        match *event {
            Event::Enter(_) | Event::Block(_) | Event::EmptyCache => {}
            Event::Allocate(index) => {
                let request = trace.request(index);
                parts[usize::from(request.part)].1 += request.bytes;
            }
            Event::Free(index) => {
                let request = trace.request(index);
                parts[usize::from(request.part)].1 -= request.bytes;
            }
        }
    }
    parts.retain(|(_, bytes)| *bytes > 0);
    parts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Part = Part { what: "a", setting: "s" };
    const B: Part = Part { what: "b", setting: "s" };

    #[test]
    fn the_peak_is_where_most_is_alive_and_its_parts_add_up() {
        let mut trace = Trace::default();
        trace.enter(PhaseName::Load);
        trace.allocate(A, 100).keep();
        trace.enter(PhaseName::Forward);
        let b = trace.allocate(B, 30);
        trace.scratch(A, 5);
        trace.free(b);
        trace.enter(PhaseName::Backward);
        trace.scratch(B, 20);
        let replay = replay(&trace);
        let phases: Vec<_> = replay.phases.iter().map(|one| (one.name, one.allocated_bytes, one.after_bytes)).collect();
        assert_eq!(
            phases,
            [(PhaseName::Load, 100, 100), (PhaseName::Forward, 135, 100), (PhaseName::Backward, 120, 100)]
        );
        assert_eq!((replay.peak_phase, replay.peak), (PhaseName::Forward, 135));
        assert_eq!(replay.at_peak, [(A, 105), (B, 30)]);
    }
}
