//! What a setup costs: in memory, by an engine's trace, replayed; in time and money, by a roofline.

pub mod allocator;
mod asserts;
mod budget;
mod cached;
pub(crate) mod differences;
pub mod engine;
mod estimate;
pub mod expand;
mod inference;
mod known;
mod on_torch;
mod replay;
pub mod time;
mod timeline;
pub(crate) mod torch;
mod trace;

pub use asserts::{Failed, failed};
pub use budget::{Exceeded, exceeded};
pub use cached::{CachedReplay, Pool, replay_cached};
pub use differences::{Difference, differences};
pub use estimate::{AtPeak, Estimate, Host, Interval, OutOfMemory, Peak, Phase, estimate};
pub use inference::{Inference, inference};
pub use on_torch::{Demand, least_demand, peak_allocated};
pub use replay::{Replay, replay};
pub use time::{Bound, Range, Spending, Time, slowdown, time};
pub use timeline::{Moment, Timeline, Visit, timeline};
pub use trace::{Block, Entry, Event, Part, PhaseName, Stack, Tensor, Trace};

/// Why a setup cannot be costed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// The engine does not run this.
    #[error("{what}")]
    Unsupported {
        /// The setting that asks for it, by its dotted path.
        setting: &'static str,
        /// What it does run.
        what: String,
    },
}
