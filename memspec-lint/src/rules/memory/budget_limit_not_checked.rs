//! # budget-limit-not-checked (MEM018)
//!
//! ## What it does
//! Points at limits of the budget that are not checked: `wall_clock` and `cost` where time or price are not known, `disk`, on a
//! GPU `host_memory` too, and memory limits that are no upper ones (`>=`). At asserts on figures that are not known, too.
//!
//! ## Why is this bad?
//! A limit that looks checked and is not gives a confidence that nothing backs.
//!
//! ## Example
//! ```mem
//! budget {
//!   device_memory <= 14GiB
//!   wall_clock <= 6h
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! budget { device_memory <= 14GiB }
//! ```

use memspec::device::DeviceKind;
use memspec::plan::{Budget, Comparison, Limit};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plan in &context.plans {
        let gpu = plan.setups.first().is_some_and(|one| one.resolved.setup.device.kind != DeviceKind::Cpu);
        let times: Vec<_> = plan.setups.iter().filter_map(|one| one.time.as_ref().ok()).collect();
        let known = Known {
            time: times.iter().any(|time| time.total_seconds.is_some()),
            cost: times.iter().any(|time| time.cost.is_some()),
        };
        let mut unchecked = |what, figure, path: &str, why| {
            let message = format!("the {what} on `{figure}` is not checked in this version");
            let finding = Finding::new(rule, message).at(plan.written, path, why);
            findings.push(finding.help("keep it as a note to yourself, or remove it"));
        };
        for (setting, why) in plan.written.plan.budget.iter().flat_map(|budget| limits(budget, gpu, known)) {
            unchecked("limit", setting, &format!("budget.{setting}"), why);
        }
        for (number, assert) in plan.written.plan.asserts.iter().enumerate() {
            let names = assert.that.names();
            for (figure, why) in unknown(gpu, known).filter(|(figure, _)| names.contains(figure)) {
                unchecked("assert", figure, &format!("asserts[{number}]"), why);
            }
        }
    }
    findings
}

/// What was estimated.
#[derive(Clone, Copy)]
struct Known {
    time: bool,
    cost: bool,
}

/// The figures that are not estimated, and why.
fn unknown(gpu: bool, known: Known) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [
        ("wall_clock", !known.time, "how long it trains is not known"),
        ("cost", !known.cost, "what it costs is not known"),
        ("disk", true, "disk is not estimated yet"),
        ("host_memory", gpu, "beside a GPU, host memory is not estimated yet"),
    ];
    all.into_iter().filter(|(_, unknown, _)| *unknown).map(|(figure, _, why)| (figure, why))
}

/// The limits that are not checked, and why.
fn limits(budget: &Budget, gpu: bool, known: Known) -> impl Iterator<Item = (&'static str, &'static str)> {
    let limited = [
        ("wall_clock", budget.wall_clock.is_some()),
        ("cost", budget.cost.is_some()),
        ("disk", budget.disk.is_some()),
        ("host_memory", budget.host_memory.is_some()),
    ];
    let lower = |limit: &Limit<_>| matches!(limit.comparison, Comparison::AtLeast | Comparison::Above);
    let lower = budget.device_memory.as_ref().is_some_and(lower).then_some(("device_memory", "only upper limits are"));
    unknown(gpu, known).filter(move |(figure, _)| limited.contains(&(*figure, true))).chain(lower)
}
