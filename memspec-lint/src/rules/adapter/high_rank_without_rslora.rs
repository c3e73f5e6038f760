//! # high-rank-without-rslora (LOR007)
//!
//! ## What it does
//! Finds ranks of 64 and more whose scale is `alpha / rank`.
//!
//! ## Why is this bad?
//! Gradients of the two matrices shrink as the rank grows under that scale, so a higher rank learns no more than a lower one. Divided by
//! the rank's root they do not.
//!
//! ## Example
//! ```mem
//! adapter lora { rank = 128 }
//! ```
//!
//! ## Use instead
//! ```mem
//! adapter lora { rank = 128; alpha = 16; rank_stabilized = true }
//! ```
//!
//! ## Fix safety
//! Unsafe: what the adapter adds is scaled up.
//!
//! ## References
//! - <https://arxiv.org/abs/2312.03732> (rank-stabilized LoRA)

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// From here on the scale matters.
const HIGH: u32 = 64;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let high = |adapter: &memspec::setup::Adapter| adapter.rank >= HIGH && !adapter.rank_stabilized;
        let setup = plan.find(|setup| setup.adapter.as_ref().is_some_and(high))?;
        let rank = setup.adapter.as_ref()?.rank;
        Some(
            Finding::new(rule, format!("at rank {rank} the scale `alpha / rank` holds learning back"))
                .at(plan.written, "adapter.rank", "")
                .help("use `rank_stabilized = true`, with an `alpha` of about 16")
                .fix(context.set(plan, "adapter.rank_stabilized", "true", Applicability::Unsafe)),
        )
    })
}
