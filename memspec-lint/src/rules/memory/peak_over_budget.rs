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
use memspec::quantity::Bytes;
use memspec::solve::Resolved;

use crate::context::{Context, Seen};
use crate::diagnostic::{Finding, place_of};
use crate::output::estimate::by_setting;
use crate::registry::Rule;
use crate::repair;

/// Settings that the report names, the largest.
const NAMED: usize = 4;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let plans = context.plans.iter().filter(|plan| !plan.incomplete);
    plans.filter_map(|plan| {
        // Of a sweep, the run that needs most.
        let over = plan.estimates().filter(|(_, estimate)| !estimate.fits);
        let (resolved, estimate) = over.max_by_key(|(_, estimate)| estimate.needs().0)?;
        let mut finding = too_big(Finding::new(rule, ""), plan, resolved, estimate);
        finding.fixes = repair::fixes(context, plan, resolved);
        Some(finding)
    }).collect()
}

/// Says by how much the plan is too big, and where the memory goes.
pub(crate) fn too_big(mut finding: Finding, plan: &Seen<'_>, resolved: &Resolved, estimate: &Estimate) -> Finding {
    let (limit, process) = (Bytes(estimate.limit_bytes), estimate.peak.process);
    finding.message = format!(
        "plan `{}` needs {} ({} to {}) in its {} phase and may take {limit}",
        estimate.name,
        Bytes(process.bytes),
        Bytes(process.low),
        Bytes(process.high),
        estimate.peak.phase,
    );
    let (setting, words) = if resolved.setup.budget.written {
        let host = plan.written.spans.get("budget.device_memory").is_none();
        (if host { "budget.host_memory" } else { "budget.device_memory" }, format!("leaves {limit}"))
    } else {
        ("device", format!("has {limit}"))
    };
    finding = finding.at(plan.written, setting, words);

    let mut places: Vec<(std::ops::Range<usize>, Vec<String>)> = Vec::new();
    for (setting, bytes, parts) in by_setting(estimate).into_iter().take(NAMED) {
        let Some(place) = place_of(plan.written, setting) else { continue };
        let words = format!("{}: {}", Bytes(bytes), parts.join(", "));
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, all)) => all.push(words),
            None => places.push((place, vec![words])),
        }
    }
    for (place, words) in places {
        // The budget's own place is taken by the limit.
        if finding.labels.iter().all(|label| label.span != place) {
            finding = finding.label(place, words.join("; "));
        } else if let Some(label) = finding.labels.iter_mut().find(|label| label.span == place) {
            label.text = format!("{}; {}", label.text, words.join("; "));
        }
    }
    let over = Bytes(process.high.saturating_sub(estimate.limit_bytes));
    finding = finding.note(format!("{over} too much at the upper end of the estimate"));
    if !estimate.measured {
        finding = finding.note(format!("no run on {} has been measured yet, so the interval is wide", estimate.device));
    }
    finding
}
