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

use crate::context::Context;
use crate::diagnostic::{Finding, from_unresolved};
use crate::registry::Rule;
use memspec::cost::CostError;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for plan in &context.plans {
        for problem in plan.unresolved("unsupported-setting") {
            findings.extend(from_unresolved(plan.written, std::slice::from_ref(problem)));
        }
        for one in &plan.setups {
            if let Err(CostError::Unsupported { setting, what }) = &one.estimate {
                let finding = Finding::new(rule, what).at(plan.written, setting, "");
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
    }
    findings
}
