//! # optimizer-vs-strategy (OPT003)
//!
//! ## What it does
//! Finds optimizers under FSDP2 that cannot step on its shards: bitsandbytes' (8-bit and paged AdamW, Lion) and Adafactor.
//!
//! ## Why is this bad?
//! They stop at the first step: "Operator bitsandbytes.optimizer_update_32bit.default does not have a sharding strategy registered",
//! "aten.add_.Tensor got mixed torch.Tensor and DTensor".
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 2 }
//! train { optimizer = adamw_8bit }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 2 }
//! train { optimizer = adamw }
//! ```
//!
//! ## Fix safety
//! Unsafe: another optimizer takes another course.
//!
//! ## References
//! - <https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1709>
//! - axolotl 0.21, `utils/schemas/validation.py`: 8-bit optimizers with FSDP2

use memspec::plan::{OptimizerKind, ParallelKind};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    // torchao's 8-bit AdamW, which is costed as bitsandbytes', steps on them.
    if context.document.foreign.as_ref().is_some_and(|foreign| foreign.differs_in("optimizer")) {
        return Vec::new();
    }
    context.each(|plan| {
        let setup = plan.find(|setup| {
            let runs = [OptimizerKind::Adamw, OptimizerKind::AdamwForeach, OptimizerKind::Sgd];
            setup.parallel.is_some_and(|parallel| parallel.kind == ParallelKind::Fsdp2 && parallel.world() > 1)
                && !runs.contains(&setup.train.optimizer)
        })?;
        Some(
            Finding::new(rule, format!("`{}` cannot step on FSDP2's shards", setup.train.optimizer))
                .at(plan.written, "train.optimizer", "fails at the first step")
                .at(plan.written, "parallel", "parameters are DTensors")
                .help("use `optimizer = adamw`: its states are shared by all cards")
                .fix(context.set(plan, "train.optimizer", "adamw", Applicability::Unsafe)),
        )
    })
}
