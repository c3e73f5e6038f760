//! # device-not-in-catalog (HW009)
//!
//! ## What it does
//! Finds devices that are neither in the catalog nor this machine (`cpu`, `auto`).
//!
//! ## Why is this bad?
//! Without the device nothing can be said: not how much memory there is, nor what it can compute.
//!
//! ## Example
//! ```mem
//! device = rtx4900
//! ```
//!
//! ## Use instead
//! ```mem
//! device = rtx4090
//! ```
//!
//! ## Fix safety
//! Unsafe: the nearest name is a guess.

use crate::context::Context;
use crate::diagnostic::{Finding, from_unresolved};
use crate::fix::{Applicability, Fix};
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plan in &context.plans {
        for problem in plan.unresolved("unknown-device") {
            let fix = problem.nearest.as_ref().and_then(|nearest| {
                let mut fix = Fix::set(context.document, plan.index, "device", nearest, Applicability::Unsafe)?;
                fix.title = format!("use `{nearest}`");
                Some(fix)
            });
            let found = from_unresolved(plan.written, std::slice::from_ref(problem));
            findings.extend(
                found.into_iter().map(|finding| Finding { severity: rule.severity, ..finding.fix(fix.clone()) }),
            );
        }
    }
    findings
}
