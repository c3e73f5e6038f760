//! # fp16-on-bf16-only-model (PRE003)
//!
//! ## What it does
//! Finds `fp16` for models whose activations or gradients are known to leave its range: Gemma 3, GPT-OSS, Qwen3 with experts,
//! Qwen3.5 and GLM-4 with experts.
//!
//! ## Why is this bad?
//! float16 ends at 65504. These models were trained in bfloat16, and the loss becomes NaN within steps. Unsloth computes them in
//! float32 where a card has no bfloat16; plans of its engine are not reported.
//!
//! ## Example
//! ```mem
//! device = l4
//! model  = "google/gemma-3-1b-it"
//! engine = trl
//! train { precision = fp16 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! model  = "google/gemma-3-1b-it"
//! engine = trl
//! train { precision = bf16 }
//! ```
//!
//! ## Fix safety
//! Unsafe: bfloat16 has fewer digits.
//!
//! ## References
//! - <https://github.com/unslothai/unsloth/issues/5074>
//! - <https://github.com/google/gemma_pytorch/issues/24>

use memspec::plan::{EngineName, Precision};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// Values of `model_type`, or what they begin with: `unsloth_zoo/model_lists.py`, `FORCE_FLOAT32`.
const OVERFLOWING: &[&str] = &["gemma3", "gemma4", "gpt_oss", "qwen3_moe", "qwen3_5", "glm4_moe"];

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.engine != EngineName::Unsloth
                && matches!(setup.train.precision, Precision::Fp16 | Precision::Fp16Pure)
                && OVERFLOWING.iter().any(|kind| setup.model.model_type.starts_with(kind))
        })?;
        let finding =
            Finding::new(rule, format!("activations of `{}` are larger than float16 can hold", setup.model_name))
                .at(plan.written, "train.precision", format!("{} ends at 65504", setup.train.precision))
                .at(plan.written, "model", "was trained in bfloat16");
        Some(if setup.device.bf16 {
            let fix = context.set(plan, "train.precision", "bf16", Applicability::Unsafe);
            finding.help("use `precision = bf16`").fix(fix)
        } else {
            finding.help("take a card with bfloat16, `precision = f32`, or `engine = unsloth`")
        })
    })
}
