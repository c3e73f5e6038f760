//! # alpha-rank-ratio (LOR006)
//!
//! ## What it does
//! Finds an adapter whose scale, `alpha / rank` (or `alpha / sqrt(rank)` with `rank_stabilized`), is far from 1: below 0.25, or above 4
//! (16 with `rank_stabilized`).
//!
//! ## Why is this bad?
//! What the adapter adds is multiplied by it. A small one trains as if the learning rate were small, a large one as if it were large; both
//! come mostly of changing `rank` and leaving `alpha`.
//!
//! ## Example
//! ```mem
//! adapter lora { rank = 64; alpha = 2 }
//! ```
//!
//! ## Use instead
//! ```mem
//! adapter lora { rank = 64; alpha = 64 }
//! ```
//!
//! ## Fix safety
//! Unsafe: the adapter learns at another pace.
//!
//! ## References
//! - <https://arxiv.org/abs/2106.09685> (LoRA, section 4.1)
//! - <https://github.com/OpenMOSS/MOSS-Audio/issues/20>

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// The least scale that is usual.
const LEAST: f64 = 0.25;
/// The largest, divided by the rank.
const MOST: f64 = 4.0;
/// The largest, divided by the rank's root.
const MOST_STABILIZED: f64 = 16.0;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.adapter.as_ref().is_some_and(|adapter| {
                let most = if adapter.rank_stabilized { MOST_STABILIZED } else { MOST };
                // An adapter that adds nothing is another rule's.
                adapter.alpha > 0.0 && !(LEAST..=most).contains(&adapter.scale())
            })
        })?;
        let adapter = setup.adapter.as_ref()?;
        Some(
            Finding::new(rule, format!("what the adapter adds is multiplied by {:.3}", adapter.scale()))
                .at(plan.written, "adapter.alpha", format!("{} at rank {}", adapter.alpha, adapter.rank))
                .help(format!("use `alpha = {}` or twice that", adapter.rank))
                .fix(context.set(plan, "adapter.alpha", &adapter.rank.to_string(), Applicability::Unsafe)),
        )
    })
}
