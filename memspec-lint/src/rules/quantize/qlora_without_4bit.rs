//! # qlora-without-4bit (QNT002)
//!
//! ## What it does
//! Finds plans that are called QLoRA and whose base is not packed to 4 bits.
//!
//! ## Why is this bad?
//! QLoRA is LoRA beside a base in 4 bits. Without `quantize nf4` the base takes four times the memory that the name promises, and
//! the plan's results are compared with the wrong ones.
//!
//! ## Example
//! ```mem
//! plan "smollm2-qlora" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//!   data { context = 512tok }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "smollm2-qlora" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   quantize nf4 { }
//!   adapter lora { rank = 16 }
//!   data { context = 512tok }
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: the base loses precision.
//!
//! ## References
//! - <https://arxiv.org/abs/2305.14314> (QLoRA)

use memspec::plan::QuantizeKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        // Another trainer's file is called what its plan is called here, and its base may come packed.
        let named = context.document.foreign.is_none() && plan.written.name.to_lowercase().contains("qlora");
        named.then_some(())?;
        let setup = plan.find(|setup| {
            setup.adapter.is_some()
                // a model that is published in 4 bits needs no block
                && setup.model.published_quantization.is_none()
                && setup.quantize.as_ref().is_none_or(|quantize| quantize.kind == QuantizeKind::Int8)
        })?;
        let base = if setup.quantize.is_some() { "in 8 bits" } else { "not packed" };
        Some(
            Finding::new(rule, format!("the plan is called QLoRA, and its base is {base}"))
                .at(plan.written, "name", "QLoRA is LoRA beside a base in 4 bits")
                .help("add `quantize nf4 { }`, or call the plan what it is")
                .fix(context.set(plan, "quantize", "nf4", Applicability::Unsafe)),
        )
    })
}
