//! # thin-headroom (MEM002)
//!
//! ## What it does
//! Finds plans that fit, with less than 8 % of the device's memory left at the upper end of their estimate.
//!
//! ## Why is this bad?
//! Memory that other programs take, a driver's update or one sample longer than the rest ends the run. A limit that already
//! keeps memory free (`budget { headroom >= 10% }`) is headroom enough, and so is one below 92 % of what the device has.
//!
//! ## Example
//! ```mem
//! device = t4
//! model = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! data { context = 2048tok }
//! train { micro_batch = 6 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! model = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! data { context = 2048tok }
//! train { micro_batch = 5 }
//! ```
//!
//! ## References
//! - <https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management> (what a process holds beside its tensors)

use memspec::cost::Estimate;
use memspec::plan::Written;
use memspec::quantity::Bytes;
use memspec::setup::Setup;
use memspec::solve::ROOM;

use crate::context::Context;
use crate::diagnostic::{Finding, with_owners};
use crate::registry::Rule;
use crate::repair;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let plans = context.plans.iter().filter(|plan| !plan.incomplete && !keeps_free(plan.written));
    plans
        .filter_map(|plan| {
            let thin = plan.close().filter(|(resolved, estimate)| estimate.fits && is_thin(&resolved.setup, estimate));
            let (resolved, estimate) = thin.max_by_key(|(_, estimate)| estimate.needs().0)?;
            let usable = resolved.setup.device.usable.0;
            let needs = estimate.needs();
            let left = Bytes(usable.saturating_sub(needs.0));
            let percent = 100.0 * needs.0 as f64 / usable as f64;
            let mut finding = Finding::new(
                rule,
                format!(
                    "plan `{}` fits with {left} to spare: it takes up to {needs}, {percent:.0} % of what {} has",
                    estimate.name, estimate.device
                ),
            )
            .at(plan.written, "device", format!("has {}", Bytes(usable)))
            .certain_if(estimate.peak.process.low as f64 > ROOM * usable as f64)
            .help("leave 8 % free, or say how much is kept: `budget { headroom >= 10% }`");
            finding = with_owners(finding, plan.written, estimate);
            finding.fixes = repair::suggestions(context, plan, resolved, estimate);
            Some(finding)
        })
        .collect()
}

/// Whether less than 8 % of the device's memory is left.
pub(crate) fn is_thin(setup: &Setup, estimate: &Estimate) -> bool {
    estimate.needs().0 as f64 > ROOM * setup.device.usable.0 as f64
}

fn keeps_free(written: &Written) -> bool {
    written.plan.budget.as_ref().is_some_and(|budget| budget.headroom.is_some())
}
