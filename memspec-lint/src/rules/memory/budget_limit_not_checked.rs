//! # budget-limit-not-checked (MEM018)
//!
//! ## What it does
//! Points at limits of the budget that are not checked: `wall_clock` and `cost` where time or price are not known, `disk`, on a
//! GPU `host_memory` too, and memory limits that are no upper ones (`>=`).
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
        let Some(budget) = &plan.written.plan.budget else { continue };
        let gpu = plan.setups.first().is_some_and(|one| one.resolved.setup.device.kind != DeviceKind::Cpu);
        let times: Vec<_> = plan.setups.iter().filter_map(|one| one.time.as_ref().ok()).collect();
        let known = Known {
            time: times.iter().any(|time| time.total_seconds.is_some()),
            cost: times.iter().any(|time| time.cost.is_some()),
        };
        for (setting, why) in unchecked(budget, gpu, known) {
            let path = format!("budget.{setting}");
            findings.push(
                Finding::new(rule, format!("the limit on `{setting}` is not checked in this version"))
                    .at(plan.written, &path, why)
                    .help("keep it as a note to yourself, or remove it"),
            );
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

fn unchecked(budget: &Budget, gpu: bool, known: Known) -> Vec<(&'static str, &'static str)> {
    fn lower<T>(limit: &Option<Limit<T>>) -> bool {
        limit.as_ref().is_some_and(|limit| matches!(limit.comparison, Comparison::AtLeast | Comparison::Above))
    }
    let all = [
        ("wall_clock", budget.wall_clock.is_some() && !known.time, "how long it trains is not known"),
        ("cost", budget.cost.is_some() && !known.cost, "what it costs is not known"),
        ("disk", budget.disk.is_some(), "disk is not estimated yet"),
        ("host_memory", budget.host_memory.is_some() && gpu, "beside a GPU, host memory is not estimated yet"),
        ("device_memory", lower(&budget.device_memory), "only upper limits are"),
    ];
    all.into_iter().filter(|(_, found, _)| *found).map(|(setting, _, why)| (setting, why)).collect()
}
