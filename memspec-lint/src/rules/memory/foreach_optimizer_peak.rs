//! # foreach-optimizer-peak (MEM009)
//!
//! ## What it does
//! Finds `adamw_foreach` where its temporaries add 3 % or more to the peak.
//!
//! ## Why is this bad?
//! It steps on lists of tensors, with temporaries as large as all that is trained. The fused kernel makes the same step without them. The figure
//! is that of the plan estimated anew.
//!
//! ## Example
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   data { context = 256tok }
//!   train { precision = bf16; optimizer = adamw_foreach; learning_rate = 2e-5 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   data { context = 256tok }
//!   train { precision = bf16; optimizer = adamw; learning_rate = 2e-5 }
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: another kernel rounds in another order.
//!
//! ## References
//! - <https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html> (foreach: about the size of the parameters more)
//! - <https://github.com/pytorch/torchtune/issues/389>

use memspec::plan::OptimizerKind;
use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// Of the peak.
const SHARE: f64 = 0.03;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (resolved, now) = plan.fitting(|setup| setup.train.optimizer == OptimizerKind::AdamwForeach)?;
        let mut setup = resolved.setup.clone();
        setup.train.optimizer = OptimizerKind::Adamw;
        let before = now.peak.process.bytes;
        let saved = before.saturating_sub(plan.anew(rule, &setup).ok()?.peak.process.bytes);
        if (saved as f64) < SHARE * before as f64 {
            return None;
        }
        Some(
            Finding::new(rule, format!("the optimizer's temporaries add {} to the peak", Bytes(saved)))
                .at(plan.written, "train.optimizer", format!("{} less with `adamw`", Bytes(saved)))
                .help("use `optimizer = adamw`, the fused kernel")
                .fix(context.set(plan, "train.optimizer", "adamw", Applicability::Unsafe)),
        )
    })
}
