//! # packing-with-images (ATT012)
//!
//! ## What it does
//! Finds packing of samples with images.
//!
//! ## Why is this bad?
//! TRL refuses to pack a dataset with images: rows of patches are not cut and joined like tokens.
//!
//! ## Example
//! ```mem
//! model  = "Qwen/Qwen2-VL-7B-Instruct"
//! device = "a100-80"
//! engine = trl
//! data {
//!   context    = 2048tok
//!   packing    = true
//!   images     = 1
//!   image_size = "448x448"
//! }
//! train { attention = flash2 }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "Qwen/Qwen2-VL-7B-Instruct"
//! device = "a100-80"
//! engine = trl
//! data {
//!   context    = 2048tok
//!   packing    = false
//!   images     = 1
//!   image_size = "448x448"
//! }
//! train { attention = flash2 }
//! ```
//!
//! ## Fix safety
//! Unsafe: a step has other samples.
//!
//! ## References
//! - TRL, `trainer/sft_trainer.py`: "Packing is not supported for vision datasets"

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.data.packing && setup.data.images > 0)?;
        Some(
            Finding::new(rule, "samples with images cannot be packed")
                .at(plan.written, "data.packing", "")
                .at(plan.written, "data.images", "")
                .help("use `packing = false`")
                .fix(context.set(plan, "data.packing", "false", Applicability::Unsafe)),
        )
    })
}
