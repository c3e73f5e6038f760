//! # merge-without-adapter (EVL010)
//!
//! ## What it does
//! Finds `save { merge = true }` in a plan that trains all weights.
//!
//! ## Why is this bad?
//! There is no adapter to merge: what is saved is the model anyway.
//!
//! ## Example
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   data { context = 512tok }
//!   train { precision = bf16; learning_rate = 2e-5 }
//!   save { merge = true }
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
//! Safe: it removes a setting without effect.

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.save.merge && setup.adapter.is_none())?;
        Some(
            Finding::new(rule, "there is no adapter to merge")
                .at(plan.written, "save.merge", "does nothing")
                .help("remove it, or add `adapter lora { }`")
                .fix(context.remove(plan, "save.merge", Applicability::Safe)),
        )
    })
}
