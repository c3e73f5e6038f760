//! # tensor-parallel-of-adapted-or-packed (DST012)
//!
//! ## What it does
//! Finds tensor parallelism with an adapter, or with weights that bitsandbytes packed.
//!
//! ## Why is this bad?
//! PEFT makes an adapter as wide as the whole linear, and each card has a part of it: "The size of tensor a must match the size of tensor b".
//! Packed weights have no rows and columns to cut.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! parallel tensor { gpus = 3 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 3 }
//! ```
//!
//! ## Fix safety
//! Unsafe: the cards share the work in another way.
//!
//! ## References
//! - PEFT 0.21, `tuners/lora/model.py`: `_hf_tp_plan`
//! - transformers 5.17, `distributed/tensor_parallel.py`

use memspec::plan::ParallelKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            let split =
                |parallel: memspec::setup::Parallel| parallel.kind == ParallelKind::Tensor && parallel.world() > 1;
            setup.parallel.is_some_and(split) && (setup.adapter.is_some() || setup.quantize.is_some())
        })?;
        let (setting, words) = if setup.quantize.is_some() {
            ("quantize", "has no rows and columns to cut")
        } else {
            ("adapter", "is as wide as the whole linear")
        };
        Some(
            Finding::new(rule, format!("tensor parallelism cannot split what `{setting}` makes of linears"))
                .at(plan.written, setting, words)
                .at(plan.written, "parallel", "cuts linears into parts")
                .help("use `parallel fsdp2` or `parallel ddp`")
                .fix(context.set(plan, "parallel", "fsdp2", Applicability::Unsafe)),
        )
    })
}
