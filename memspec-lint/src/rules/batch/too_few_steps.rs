//! # too-few-steps (BAT004)
//!
//! ## What it does
//! Finds runs of fewer than 20 optimizer steps.
//!
//! ## Why is this bad?
//! Schedule, warmup and moments of the optimizer need some steps to mean anything; a run this short is a test, or has too large a batch.
//!
//! ## Example
//! ```mem
//! train { steps = 5step }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { steps = 100step }
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// Fewer are a test.
const FEW: u64 = 20;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let steps = plan.steps().filter(|steps| *steps < FEW)?;
        let setting = if plan.says("train.steps") { "train.steps" } else { "train.accumulate" };
        Some(
            Finding::new(rule, format!("the run has {steps} optimizer steps"))
                .at(plan.written, setting, "")
                .help("train for more epochs, or with fewer samples to a step"),
        )
    })
}
