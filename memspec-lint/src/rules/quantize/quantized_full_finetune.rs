//! # quantized-full-finetune (QNT001)
//!
//! ## What it does
//! Finds packed weights in a plan that trains all weights: `quantize` without `adapter`.
//!
//! ## Why is this bad?
//! Packed weights are integers and have no gradient. transformers refuses to train them ("You cannot perform fine-tuning on purely
//! quantized models"), after loading.
//!
//! ## Example
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   quantize nf4 { }
//!   data { context = 512tok }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "qlora" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   quantize nf4 { }
//!   adapter lora { rank = 16 }
//!   data { context = 512tok }
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: an adapter is trained instead of all weights.
//!
//! ## References
//! - transformers 5.17, `trainer_utils.py`: `validate_quantization_for_training`
//! - axolotl 0.21, `utils/schemas/peft.py`: `validate_adapter`

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.quantize.is_some() && setup.adapter.is_none())?;
        Some(
            Finding::new(rule, "packed weights cannot be trained")
                .at(plan.written, "quantize", "integers have no gradient")
                .help("add `adapter lora { }`, which is trained beside them; or leave `quantize` out and train all weights")
                .fix(context.set(plan, "adapter", "lora", Applicability::Unsafe)),
        )
    })
}
