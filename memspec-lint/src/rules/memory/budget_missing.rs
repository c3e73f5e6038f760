//! # budget-missing (MEM016)
//!
//! ## What it does
//! Finds plans without a limit on their memory.
//!
//! ## Why is this bad?
//! What they may take is what the device has, today. With a `budget` a change that needs more is told in review, whatever card the next one
//! runs it on.
//!
//! ## Example
//! ```mem
//! device = t4
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! budget { device_memory <= 14GiB }
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let budget = plan.written.plan.budget.as_ref();
        let limited = budget.is_some_and(|budget| budget.device_memory.is_some() || budget.headroom.is_some());
        let setup = plan.setups().next().filter(|_| !limited)?;
        Some(
            Finding::new(rule, format!("plan `{}` may take whatever {} has", plan.written.name, setup.device.title))
                .at(plan.written, "name", "no `budget`")
                .help("say what it may take: `budget { device_memory <= 14GiB }`, or `headroom >= 10%`"),
        )
    })
}
