//! # unknown-model (MOD001)
//!
//! ## What it does
//! Finds models that are neither a folder with a `config.json`, nor a GGUF file, nor in the local Hugging Face cache
//! (`HF_HOME`), nor in the catalog; and folders and files that are there and cannot be understood.
//!
//! ## Why is this bad?
//! Everything is counted from the model's shapes. They are never fetched from the network, so that a plan costs the same
//! everywhere.
//!
//! ## Example
//! ```mem
//! model = "HuggingFaceTB/SmolLM2-135M-Instrukt"
//! ```
//!
//! ## Use instead
//! ```mem
//! model = "HuggingFaceTB/SmolLM2-135M-Instruct"
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
        for problem in plan.unresolved("unknown-model") {
            let fix = problem.nearest.as_ref().and_then(|nearest| {
                let mut fix = Fix::set(context.document, plan.index, "model", nearest, Applicability::Unsafe)?;
                fix.title = format!("use `{nearest}`");
                Some(fix)
            });
            let found = from_unresolved(plan.written, std::slice::from_ref(problem));
            let severity = context.of_unchecked(rule.severity);
            findings.extend(found.into_iter().map(|finding| Finding { severity, ..finding.fix(fix.clone()) }));
        }
    }
    findings
}
