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

use crate::context::Context;
use crate::diagnostic::{Finding, Severity, from_too_big};
use crate::registry::Rule;
use crate::repair;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        // Of a sweep, the run that needs most.
        let over = plan.estimates().filter(|(_, estimate)| !estimate.fits);
        let (resolved, estimate) = over.max_by_key(|(_, estimate)| estimate.needs().0)?;
        let mut finding = from_too_big(plan.written, &resolved.setup, estimate);
        finding.certain = estimate.peak.process.low > estimate.limit_bytes;
        finding.severity = if finding.certain { rule.severity } else { Severity::Warning };
        if !finding.certain {
            finding =
                finding.note("the limit is within the estimate's interval, so it may fit: this does not fail a check");
        }
        finding.fixes = repair::fixes(context, plan, resolved);
        Some(finding)
    })
}
