//! # run-over-budget (MEM020)
//!
//! ## What it does
//! Finds plans that are expected to train longer than `budget.wall_clock` allows, or to cost more than `budget.cost`.
//!
//! ## Why is this bad?
//! The run is stopped before it ends, or the bill is a surprise. The expected time is compared, not the ends of its interval,
//! as those lie far apart; `memspec-lint estimate` shows them. Loading, evaluation and saving come on top.
//!
//! ## Example
//! ```mem
//! device = cpu
//! train {
//!   micro_batch = 1
//!   steps = 10_000_000step
//! }
//! budget { wall_clock <= 6h }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = cpu
//! train {
//!   micro_batch = 1
//!   steps = 10step
//! }
//! budget { wall_clock <= 6h }
//! ```

use memspec::cost::{Time, exceeded};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plan in context.plans.iter().filter(|plan| !plan.incomplete) {
        let Some(budget) = &plan.written.plan.budget else { continue };
        let times = plan.setups.iter().filter_map(|one| one.time.as_ref().ok());
        // of a sweep's runs, the longest
        let worst = times.max_by(|a, b| seconds(a).total_cmp(&seconds(b)));
        for over in worst.into_iter().flat_map(|time| exceeded(budget, time)) {
            let does = if over.setting == "budget.cost" { "cost" } else { "train for" };
            let (low, high) = &over.between;
            findings.push(
                Finding::new(
                    rule,
                    format!("plan `{}` is expected to {does} {}", plan.written.plan.name, over.expected),
                )
                .at(plan.written, over.setting, format!("allows {}", over.limit))
                .certain_if(over.certain)
                .note(format!("between {low} and {high}"))
                .help("train fewer steps or samples, take a faster device, or allow more"),
            );
        }
    }
    findings
}

fn seconds(time: &Time) -> f64 {
    time.total_seconds.map_or(0.0, |total| total.value)
}
