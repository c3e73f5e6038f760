//! What a setup costs in memory: an engine's trace, replayed.

pub mod engine;
mod estimate;
mod replay;
mod trace;

pub use estimate::{AtPeak, Estimate, Host, Interval, OutOfMemory, Peak, Phase, estimate};
pub use replay::{Replay, replay};
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
