//! # paged-optimizer-for-lora (MEM008)
//!
//! ## What it does
//! Finds paged optimizers of an adapter whose states would take less than 2 % of the memory.
//!
//! ## Why is this bad?
//! Paging helps where optimizer states are large, which an adapter's are not: what is saved is next to nothing, and pages that wander to the
//! host and back cost time.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! train { optimizer = paged_adamw }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! train { optimizer = adamw }
//! ```
//!
//! ## Fix safety
//! Unsafe: another kernel takes the steps.
//!
//! ## References
//! - <https://github.com/pytorch/torchtune/pull/1576>
//! - bitsandbytes 0.50, `optim/optimizer.py`: `is_paged`

use memspec::plan::OptimizerKind;
use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;
use crate::rules::adapter::parameters;

/// Of what the plan may take.
const SHARE: f64 = 0.02;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            let states = states(setup.train.optimizer) * parameters(setup);
            states > 0 && (states as f64) < SHARE * setup.budget.device_memory.0 as f64
        })?;
        let states = Bytes(states(setup.train.optimizer) * parameters(setup));
        let better = match setup.train.optimizer {
            OptimizerKind::PagedAdamw8bit => OptimizerKind::Adamw8bit,
            _ => OptimizerKind::Adamw,
        };
        Some(
            Finding::new(rule, format!("paging saves {states} at most"))
                .at(plan.written, "train.optimizer", "an adapter's states are small")
                .help(format!("use `optimizer = {better}`"))
                .fix(context.set(plan, "train.optimizer", better.name(), Applicability::Unsafe)),
        )
    })
}

/// Bytes that a paged optimizer keeps for each weight; 0 of others.
fn states(optimizer: OptimizerKind) -> u64 {
    match optimizer {
        OptimizerKind::PagedAdamw => 8,
        OptimizerKind::PagedAdamw8bit => 2,
        _ => 0,
    }
}
