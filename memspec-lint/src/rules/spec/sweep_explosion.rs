//! # sweep-explosion (SPEC009)
//!
//! ## What it does
//! Finds plans whose sweeps make more than 64 runs.
//!
//! ## Why is this bad?
//! Every value is multiplied with every other: three lists of five are 125 runs, each of which is paid for.
//!
//! ## Example
//! ```mem
//! adapter lora { rank = sweep [4, 8, 16, 24, 32] }
//! train {
//!   learning_rate = sweep [1e-4, 2e-4, 3e-4, 4e-4]
//!   weight_decay  = sweep [0, 0.01, 0.05, 0.1]
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! adapter lora { rank = sweep [8, 16, 32] }
//! train {
//!   learning_rate = sweep [1e-4, 2e-4, 4e-4]
//! }
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// More runs than these are seldom meant.
const MOST: usize = 64;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let first = plan.setups.first().filter(|_| plan.setups.len() > MOST)?;
        let (setting, _) = first.resolved.chosen.first()?;
        Some(
            Finding::new(rule, format!("the sweeps make {} runs", plan.setups.len()))
                .at(plan.written, setting, "is multiplied with the others")
                .help("sweep one setting after the other, or fewer values"),
        )
    })
}
