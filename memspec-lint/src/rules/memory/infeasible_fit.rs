//! # infeasible-fit (MEM023)
//!
//! ## What it does
//! Finds plans with a `fit` of which no value meets the memory there is.
//!
//! ## Why is this bad?
//! The last value is taken, and the run ends with an out-of-memory error. The report says by how much the last value misses, and what else
//! would make the plan fit.
//!
//! ## Example
//! ```mem
//! data { context = 1024tok }
//! train { micro_batch = fit [16, 8] }
//! budget { device_memory <= 2GiB }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 1024tok }
//! train { micro_batch = fit [16, 8, 4, 2, 1] }
//! budget { device_memory <= 2GiB }
//! ```
//!
//! ## Fix safety
//! Safe where the training stays the same and only gets slower, as for peak-over-budget; else unsafe.
//!
//! ## References
//! - `memspec-lint resolve`: why each value was not taken

use super::peak_over_budget;
use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (resolved, estimate) = peak_over_budget::worst(plan)?;
        let tried = resolved.rejected.first()?;
        let settings: Vec<&str> = tried.values.iter().map(|(setting, _)| setting.as_str()).collect();
        let last = |setting: &str| resolved.chosen.iter().find(|(chosen, _)| chosen == setting).map(|(_, value)| value);
        let mut finding = peak_over_budget::finding(rule, context, plan, resolved, estimate);
        finding.message = format!("no value of `fit` meets the budget: {}", finding.message);
        for setting in settings {
            if let Some(value) = last(setting) {
                finding = finding.at(plan.written, setting, format!("not even with {value}"));
            }
        }
        Some(finding)
    })
}
