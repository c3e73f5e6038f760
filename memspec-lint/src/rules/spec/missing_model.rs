//! # missing-model (SPEC020)
//!
//! ## What it does
//! Finds plans that name no model, and settings without which a plan cannot be resolved.
//!
//! ## Why is this bad?
//! Everything is counted from the model's shapes.
//!
//! ## Example
//! ```mem
//! plan "no-model" {
//!   device = t4
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "with-model" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```

use crate::context::Context;
use crate::diagnostic::{Finding, from_unresolved};
use crate::registry::Rule;
use crate::rules::mistakes;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = mistakes(rule, context);
    for plan in &context.plans {
        // The text's own mistakes say it better, where there are any.
        let missing = plan.unresolved("missing-setting").filter(|_| !plan.incomplete);
        findings.extend(missing.flat_map(|problem| from_unresolved(plan.written, std::slice::from_ref(problem))));
    }
    findings
}
