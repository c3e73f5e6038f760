//! Replaying a trace through PyTorch's caching allocator: allocated and reserved bytes, and where a limit stops it.

use super::allocator::caching::{BlockId, Caching};
use super::estimate::{OutOfMemory, Phase};
use super::trace::{Event, Part, PhaseName, Trace};

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
    let mut memory = Caching::new(pool.limit, pool.expandable);
    let mut blocks: Vec<Option<BlockId>> = vec![None; trace.tensors()];
    // Bytes in blocks by the number of their part, now and at the peak; those of the peak are noted before something is freed.
    let mut live: Vec<u64> = vec![0; trace.parts().len()];
    let mut at_peak = live.clone();
    let mut noted = true;
    let mut figures: [Option<(u64, u64)>; PhaseName::ALL.len()] = [None; PhaseName::ALL.len()];
    let mut phase = PhaseName::Load;
    let (mut peak, mut peak_phase) = (0, phase);
    let mut highest = 0;
    let mut failure = None;
    let close = |figures: &mut [Option<(u64, u64)>], phase: PhaseName, highest: u64, now: u64| {
        let figure = figures[phase as usize].get_or_insert((0, 0));
        *figure = (figure.0.max(highest), now);
    };
    for (at, event) in trace.events().iter().enumerate() {
        match *event {
            Event::Enter(next) => {
                if at > 0 {
                    close(&mut figures, phase, highest, memory.allocated());
                }
                phase = next;
                highest = memory.allocated();
            }
            Event::Allocate(index) => {
                let entry = trace.tensor(index);
                match memory.allocate(entry.bytes, entry.stream) {
                    Ok(block) => {
                        blocks[index as usize] = Some(block);
                        live[trace.part(index)] += memory.size(block);
                    }
                    Err(refused) => {
                        failure = Some(OutOfMemory {
                            phase,
                            tried_bytes: refused.tried,
                            allocated_bytes: refused.allocated,
                            reserved_bytes: refused.reserved,
                        });
                        break;
                    }
                }
                let now = memory.allocated();
                highest = highest.max(now);
                if now > peak {
                    (peak, peak_phase, noted) = (now, phase, false);
                }
            }
            Event::Free(index) => {
                if !noted {
                    at_peak.copy_from_slice(&live);
                    noted = true;
                }
                if let Some(block) = blocks[index as usize].take() {
                    live[trace.part(index)] -= memory.size(block);
                    memory.release(block);
                }
            }
            Event::EmptyCache => memory.empty_cache(),
            Event::Block(_) => {}
        }
    }
    if !noted {
        at_peak = live;
    }
    close(&mut figures, phase, highest, memory.allocated());
    let phases = PhaseName::ALL
        .into_iter()
        .filter_map(|name| {
            figures[name as usize].map(|(peak, after)| Phase { name, allocated_bytes: peak, after_bytes: after })
        })
        .collect();
    CachedReplay {
        phases,
        peak_phase,
        peak,
        reserved: memory.peak_reserved(),
        retries: memory.retries(),
        at_peak: parts(trace, at_peak),
        failure,
    }
}

/// Those parts that have bytes, the largest first.
fn parts(trace: &Trace, bytes: Vec<u64>) -> Vec<(Part, u64)> {
    let parts = trace.parts().iter().copied().zip(bytes);
    let mut parts: Vec<(Part, u64)> = parts.filter(|(_, bytes)| *bytes > 0).collect();
    parts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    parts
}
