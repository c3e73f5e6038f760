//! Why a run died, from its log: what the log says, and with the run's plan, which allocation it was and what would have saved it.
//!
//! ```
//! use memspec_lint::diagnose::{Cause, Death, death};
//!
//! let log = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB. GPU 5 has a total capacity of 23.43 GiB of which \
//!            210.06 MiB is free. Of the allocated memory 22.41 GiB is allocated by PyTorch, and 206.09 MiB is reserved by PyTorch but \
//!            unallocated.";
//! let Some(Death::Refused(refusal)) = death(log).map(|found| found.death) else { unreachable!() };
//! assert_eq!(refusal.gpu, Some(5));
//! assert!(matches!(refusal.cause(), Some(Cause::Size { .. })));
//! ```

mod advice;
mod cause;
mod log;
mod plan;
mod suspect;
mod text;
mod traceback;

use schemars::JsonSchema;
use serde::Serialize;

pub use cause::Cause;
pub use log::{Death, Found, Library, Refusal, death};
pub use plan::{PlanSays, explain, settings};
pub use suspect::{Place, Suspect};
pub use text::report;

/// Why a run died.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "memspec-lint diagnose")]
pub struct Diagnosis {
    /// What the log says.
    #[serde(flatten)]
    pub found: Found,
    /// Whether it was too large, or the memory in pieces, where the log says enough.
    pub cause: Option<Cause>,
    /// What the plan says to it.
    pub plan: Option<PlanSays>,
    /// What to do, the best first.
    pub advice: Vec<String>,
}

impl Diagnosis {
    /// What a log says, and what its run's plan says to it.
    pub fn new(found: Found, plan: Option<PlanSays>) -> Self {
        let cause = match &found.death {
            Death::Refused(refusal) => refusal.cause(),
            _ => None,
        };
        Self { advice: advice::advice(&found, cause.as_ref(), plan.as_ref()), found, cause, plan }
    }
}

/// The JSON schema of [`Diagnosis`], as `schemas/diagnose.schema.json` has it.
pub fn schema() -> String {
    crate::output::estimate::schema_of::<Diagnosis>()
}
