//! # sharding-setting-without-sharding (DST009)
//!
//! ## What it does
//! Finds `reshard` where nothing is gathered by FSDP2, and `offload` under `ddp`, which keeps a whole copy on each card.
//!
//! ## Why is this bad?
//! The setting does nothing, and memory that it was meant to save is taken.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! parallel ddp { gpus = 2; offload = host }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 2; offload = none }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a setting without effect.
//!
//! ## References
//! - PyTorch 2.11, `torch/distributed/fsdp/_fully_shard/_fully_shard.py`: `reshard_after_forward`, `offload_policy`

use memspec::plan::ParallelKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| setup.parallel.is_some())?;
        let parallel = setup.parallel?;
        let written = plan.written.plan.parallel.as_ref()?;
        let setting = if written.reshard.is_some() && parallel.kind != ParallelKind::Fsdp2 {
            "parallel.reshard"
        } else if parallel.offload && parallel.kind == ParallelKind::Ddp {
            "parallel.offload"
        } else {
            return None;
        };
        let name = setting.trim_start_matches("parallel.");
        Some(
            Finding::new(rule, format!("`{name}` does nothing under {}", parallel.kind))
                .at(plan.written, setting, "does nothing")
                .help("remove it, or use `parallel fsdp2`")
                .fix(context.remove(plan, setting, Applicability::Safe)),
        )
    })
}
