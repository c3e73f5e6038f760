//! # rank-exceeds-dimension (LOR008)
//!
//! ## What it does
//! Finds ranks as large as the smaller dimension of a linear that gets an adapter.
//!
//! ## Why is this bad?
//! The two matrices then have more parameters than the weight that they change, and no more freedom than the weight itself. Models with
//! few key heads have narrow `k_proj` and `v_proj`.
//!
//! ## Example
//! ```mem
//! adapter lora { rank = 256 }
//! ```
//!
//! ## Use instead
//! ```mem
//! adapter lora { rank = 128 }
//! ```
//!
//! ## Fix safety
//! Unsafe: the adapter becomes smaller.
//!
//! ## References
//! - <https://arxiv.org/abs/2106.09685> (LoRA)

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (name, least, rank) = plan.find(|setup| narrow(setup).is_some()).and_then(narrow)?;
        // The largest power of two below it.
        let better = 1u64 << (least - 1).max(1).ilog2();
        Some(
            Finding::new(rule, format!("a rank of {rank} is not low for `{name}`, whose smaller dimension is {least}"))
                .at(plan.written, "adapter.rank", "more parameters than the weight")
                .help(format!("use `rank = {better}` at most"))
                .fix(context.set(plan, "adapter.rank", &better.to_string(), Applicability::Unsafe)),
        )
    })
}

/// The narrowest target that the rank does not fit into, with its smaller dimension and the rank.
fn narrow(setup: &memspec::setup::Setup) -> Option<(String, u64, u64)> {
    let adapter = setup.adapter.as_ref()?;
    let linears = setup.model.block_linears().into_iter();
    let targets = linears.filter(|linear| adapter.targets.iter().any(|target| target == linear.leaf()));
    let narrowest = targets.min_by_key(|linear| linear.out_features.min(linear.in_features))?;
    let (least, rank) = (narrowest.out_features.min(narrowest.in_features), u64::from(adapter.rank));
    (rank >= least && least > 1).then(|| (narrowest.leaf().to_owned(), least, rank))
}
