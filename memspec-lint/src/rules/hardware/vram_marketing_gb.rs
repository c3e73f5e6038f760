//! # vram-marketing-gb (HW010)
//!
//! ## What it does
//! Finds memory limits above what the device has for a process: the number on the box in place of the number that
//! can be allocated.
//!
//! ## Why is this bad?
//! A "16 GB" T4 has 14.56 GiB for a process: the box counts in units of 10^9 or 2^30 bytes as it likes, and the driver and
//! error correction take their part. A plan that is checked against 16 GB fits on paper and runs out of memory on the card.
//!
//! ## Example
//! ```mem
//! device = t4
//! budget { device_memory <= 16GB }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! budget { device_memory <= 14.5GiB }
//! ```
//!
//! ## Fix safety
//! Unsafe: it writes the device's usable memory; a smaller limit may be what is meant.
//!
//! ## References
//! - <https://thundergolfer.com/blog/nvidia-gpu-memory-capacity>

use memspec::device::DeviceKind;
use memspec::plan::Written;
use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::{Applicability, Fix};
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let found = context.plans.iter().filter_map(|plan| {
        // A processor's free memory changes from hour to hour; only a card's is a fact.
        let device = &plan.setups.first()?.resolved.setup.device;
        let limit = limit(plan.written).filter(|&limit| device.kind != DeviceKind::Cpu && limit > device.usable.0)?;
        // A tenth below, as it must stay below when it is read again.
        let usable = (device.usable.gib() * 10.0).floor() / 10.0;
        let fix = Fix::set(
            context.document,
            plan.index,
            "budget.device_memory",
            &format!("{usable}GiB"),
            Applicability::Unsafe,
        );
        Some(
            Finding::new(
                rule,
                format!(
                    "the budget is {:.2} GiB, and {} has {:.2} GiB for a process",
                    Bytes(limit).gib(),
                    device.title,
                    device.usable.gib()
                ),
            )
            .at(plan.written, "budget.device_memory", "more than there is")
            .help(format!(
                "write `device_memory <= {usable}GiB`, or leave it out: the device's usable memory is the default"
            ))
            .fix(fix),
        )
    });
    found.collect()
}

fn limit(written: &Written) -> Option<u64> {
    Some(written.plan.budget.as_ref()?.device_memory?.value.0)
}
