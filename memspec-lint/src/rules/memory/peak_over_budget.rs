//! # peak-over-budget (MEM001)
//!
//! ## What it does
//! Estimates the plan's peak and compares the upper end with what the plan may take: the limit in its `budget`, or the
//! device's usable memory. The estimate replays, allocation by allocation, what a training step does. The report says what
//! is alive at the peak, under the setting that owns it.
//!
//! ## Why is this bad?
//! The run ends with an out-of-memory error, often after minutes of loading, or hours in, at the first long sample.
//! `memspec-train` refuses to start such a plan.
//!
//! ## Example
//! ```mem
//! data { context = 1024tok }
//! train { micro_batch = 8 }
//! budget { device_memory <= 2GiB }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 1024tok }
//! train {
//!   micro_batch = 1
//!   accumulate  = 8
//! }
//! budget { device_memory <= 2GiB }
//! ```
//!
//! ## Fix safety
//! Safe where the training stays the same and only gets slower: a smaller micro batch with more accumulation, block
//! checkpointing, both. Changes that cost quality (quantizing, a lower rank) or train something else (a shorter context) are
//! unsafe. Each is proven by estimating the changed plan, and only one that fits is applied.
//!
//! ## References
//! - <https://arxiv.org/abs/1604.06174> (recomputing activations block by block)
//! - <https://arxiv.org/abs/2305.14314> (QLoRA: what quantizing the base saves)

use memspec::cost::Estimate;
use memspec::solve::Resolved;

use crate::context::{Context, Seen};
use crate::diagnostic::{Finding, Severity, from_too_big};
use crate::registry::Rule;
use crate::repair;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (resolved, estimate) = worst(plan).filter(|(resolved, _)| resolved.rejected.is_empty())?;
        Some(finding(rule, context, plan, resolved, estimate))
    })
}

/// Of the plan's runs that do not fit, the one that needs most.
pub(crate) fn worst<'a>(plan: &'a Seen<'_>) -> Option<(&'a Resolved, &'a Estimate)> {
    let over = plan.close().filter(|(_, estimate)| !estimate.fits);
    over.max_by_key(|(_, estimate)| estimate.needs().0)
}

/// What is said of a run that does not fit: what owns the peak, and what would repair it.
pub(crate) fn finding(
    rule: &Rule,
    context: &Context<'_>,
    plan: &Seen<'_>,
    resolved: &Resolved,
    estimate: &Estimate,
) -> Finding {
    let certain = estimate.peak.process.low > estimate.limit_bytes;
    let severity = if certain { rule.severity } else { Severity::Warning };
    let finding = from_too_big(plan.written, &resolved.setup, estimate);
    let mut finding = Finding { rule: rule.name, code: Some(rule.code), severity, certain, ..finding };
    if !certain {
        finding =
            finding.note("the limit is within the estimate's interval, so it may fit: this does not fail a check");
    }
    finding.fixes = repair::fixes(context, plan, resolved, estimate);
    finding
}
