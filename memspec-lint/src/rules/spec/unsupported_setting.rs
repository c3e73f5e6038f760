//! # unsupported-setting (SPEC030)
//!
//! ## What it does
//! Finds settings that are part of the language and that this version, or the plan's engine, does not run.
//!
//! ## Why is this bad?
//! What cannot be run cannot be costed either, so nothing is promised of such a plan.
//!
//! ## Example
//! ```mem
//! train { optimizer = adafactor }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { optimizer = adamw }
//! ```

use memspec::cost::CostError;

use crate::context::{Context, Seen};
use crate::diagnostic::{Finding, from_unresolved};
use crate::registry::Rule;

pub(crate) fn check(_: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for plan in &context.plans {
        for problem in plan.unresolved("unsupported-setting") {
            findings.extend(from_unresolved(plan.written, std::slice::from_ref(problem)));
        }
        findings.extend(uncosted(plan));
    }
    findings
}

/// What the engine of a plan does not run; each once, however many runs its sweeps make.
pub(crate) fn uncosted(plan: &Seen<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for one in plan.setups.iter() {
        if let Err(CostError::Unsupported { setting, what }) = &one.estimate {
            let finding = Finding::error("unsupported-setting", what).at(plan.written, setting, "");
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}
