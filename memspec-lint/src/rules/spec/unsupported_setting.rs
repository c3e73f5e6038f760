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
use crate::diagnostic::{Finding, Severity, from_unresolved};
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for plan in &context.plans {
        for problem in plan.unresolved("unsupported-setting") {
            findings.extend(from_unresolved(plan.written, std::slice::from_ref(problem)));
        }
        findings.extend(uncosted(plan));
    }
    let severity = context.of_unchecked(rule.severity);
    findings.into_iter().map(|finding| Finding { severity, ..finding }).collect()
}

/// The findings without refusals of what another rule calls wrong at the same place, as that rule says more.
pub(crate) fn without_echoes(findings: Vec<Finding>) -> Vec<Finding> {
    let is_refusal = |finding: &Finding| finding.rule == "unsupported-setting";
    let said: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error && !is_refusal(finding))
        .flat_map(|finding| &finding.labels)
        .map(|label| label.span.clone())
        .collect();
    let is_echo = |finding: &Finding| {
        is_refusal(finding) && finding.labels.first().is_some_and(|label| said.contains(&label.span))
    };
    findings.into_iter().filter(|finding| !is_echo(finding)).collect()
}

/// What the engine of a plan does not run; each once, however many runs its sweeps make.
pub(crate) fn uncosted(plan: &Seen<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for one in plan.setups.iter() {
        if let Some(CostError::Unsupported { setting, what }) = one.refusal() {
            let finding = Finding::error("unsupported-setting", what).at(plan.written, setting, "");
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}
