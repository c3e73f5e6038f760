//! # more-blocks-than-layers (CKP010)
//!
//! ## What it does
//! Finds `checkpointing = N` with more blocks than the model has.
//!
//! ## Why is this bad?
//! All blocks are recomputed, as with `block`. The number is mostly that of a larger model, where it left some blocks alone.
//!
//! ## Example
//! ```mem
//! train { checkpointing = 64 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { checkpointing = block }
//! ```
//!
//! ## Fix safety
//! Safe: all blocks are recomputed before and after.

use memspec::plan::Checkpointing;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let written = plan.written.plan.train.as_ref()?.checkpointing.as_ref()?;
        let layers = plan.find(|_| true)?.model.layers;
        let blocks = written.values().iter().find_map(|value| match value {
            Checkpointing::Blocks(blocks) if u64::from(*blocks) > layers => Some(*blocks),
            _ => None,
        })?;
        Some(
            Finding::new(rule, format!("{blocks} blocks of a model that has {layers}"))
                .at(plan.written, "train.checkpointing", "recomputes all of them")
                .help("write `checkpointing = block` for all, or a smaller number")
                .fix(context.set(plan, "train.checkpointing", "block", Applicability::Safe)),
        )
    })
}
