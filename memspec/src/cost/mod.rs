//! What a setup costs: in memory, by an engine's trace, replayed; in time and money, by a roofline.

pub mod engine;
mod estimate;
mod inference;
mod replay;
pub mod time;
mod trace;

pub use estimate::{AtPeak, Estimate, Host, Interval, OutOfMemory, Peak, Phase, estimate};
pub use inference::{Inference, inference};
pub use replay::{Replay, replay};
pub use time::{Bound, Range, Spending, Time, slowdown, time};
pub use trace::{Event, Part, PhaseName, Tensor, Trace};

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
