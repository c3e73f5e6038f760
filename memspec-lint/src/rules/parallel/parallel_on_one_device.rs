//! # parallel-on-one-device (DST010)
//!
//! ## What it does
//! Finds a `parallel` block with one card in one machine.
//!
//! ## Why is this bad?
//! There is nobody to share the work with: nothing is sharded. `gpus` was forgotten, whose default is 1.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 2 }
//! ```
//!
//! ## Fix safety
//! Safe: one card does the same work without the block.
//!
//! ## References
//! - <https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html>

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        // How many cards there are is not said in other trainers' files.
        let setup =
            plan.find(|setup| setup.parallel.is_some() && setup.world() == 1 && !context.assumes("parallel.gpus"))?;
        let kind = setup.parallel?.kind;
        Some(
            Finding::new(rule, format!("{kind} on one card shares nothing"))
                .at(plan.written, "parallel", "one card in one machine")
                .help("say how many cards there are, `gpus = 2`, or remove the block")
                .fix(context.remove(plan, "parallel", Applicability::Safe)),
        )
    })
}
