//! # pure-fp16-full-finetune (PRE004)
//!
//! ## What it does
//! Finds training of all weights with everything in float16 (`fp16_pure`).
//!
//! ## Why is this bad?
//! Without loss scaling small gradients become 0, and an update smaller than a float16 weight can show is lost: the model stands still
//! or diverges. torchtune refuses it ("full fp16 training is not supported").
//!
//! ## Example
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   data { context = 512tok }
//!   train { precision = fp16_pure; learning_rate = 2e-5 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   data { context = 512tok }
//!   train { precision = bf16; learning_rate = 2e-5 }
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: master weights in float32 take more memory.
//!
//! ## References
//! - <https://github.com/pytorch/torchtune/blob/main/recipes/full_finetune_single_device.py>

use memspec::plan::Precision;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| setup.adapter.is_none() && setup.train.precision == Precision::Fp16Pure)?;
        let better = if setup.device.bf16 { "bf16" } else { "fp16" };
        Some(
            Finding::new(rule, "weights in float16 cannot take small updates")
                .at(plan.written, "train.precision", "no float32 master weights, no loss scaling")
                .help(format!("use `precision = {better}`, which keeps float32 master weights"))
                .fix(context.set(plan, "train.precision", better, Applicability::Unsafe)),
        )
    })
}
