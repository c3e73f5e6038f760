//! The largest context or micro batch with which a setup fits.

use crate::cost::{CostError, Estimate, estimate};
use crate::setup::Setup;

/// Samples of a micro batch that are tried at most.
const MOST_MICRO_BATCH: u64 = 1 << 16;

/// What is made as large as it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Growing {
    /// Tokens of a sample; up to the positions that the model was made for.
    Context,
    /// Samples of a micro batch.
    Batch,
}

/// The largest value that fits, and the least that does not.
#[derive(Clone, Debug)]
pub struct Largest {
    /// The value; 0 where not even 1 fits.
    pub value: u64,
    /// The estimate with it; with 1 where that does not fit.
    pub estimate: Estimate,
    /// What ends it: the memory, or else a bound of the model.
    pub bounded_by_memory: bool,
}

/// The largest value with which a setup fits. Samples are taken to be as long as the context, whatever the data have.
///
/// Memory does not fall when either grows (`tests/solve.rs`), so the place where it no longer fits is found by bisection.
///
/// # Errors
/// A setup that its engine does not run.
pub fn largest(setup: &Setup, growing: Growing) -> Result<Largest, CostError> {
    let at = |value: u64| estimate(&with(setup, growing, value));
    let most = match growing {
        Growing::Context => setup.model.max_positions.max(1),
        Growing::Batch => MOST_MICRO_BATCH,
    };
    // A sample of one token predicts nothing.
    let least = match growing {
        Growing::Context => 2,
        Growing::Batch => 1,
    };
    let first = at(least)?;
    if !first.fits {
        return Ok(Largest { value: 0, estimate: first, bounded_by_memory: true });
    }
    let (mut fits, mut best) = (least, first);
    // doubling finds a value that does not fit, as the largest that there is may be too large to be costed
    let mut over = most + 1;
    while over > fits + 1 {
        let next = if over > most { (2 * fits).min(most) } else { fits.midpoint(over) };
        match at(next) {
            Ok(estimate) if estimate.fits => (fits, best) = (next, estimate),
            _ => over = next,
        }
    }
    Ok(Largest { value: fits, estimate: best, bounded_by_memory: over <= most })
}

/// The setup with another context or micro batch.
pub fn with(setup: &Setup, growing: Growing, value: u64) -> Setup {
    let mut setup = setup.clone();
    setup.data.drawn = None;
    setup.data.lengths = None;
    match growing {
        Growing::Context => setup.data.context = value,
        Growing::Batch => setup.train.micro_batch = u32::try_from(value).unwrap_or(u32::MAX),
    }
    setup
}
