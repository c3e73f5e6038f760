//! # bf16-weights-small-lr (PRE009)
//!
//! ## What it does
//! Finds weights that are trained in bfloat16 (`bf16_pure`) with a learning rate below 1e-5.
//!
//! ## Why is this bad?
//! bfloat16 keeps 8 bits of a number, so a weight of 0.02 changes in steps of 6e-5 or 1.2e-4. AdamW's updates are about as large as
//! the learning rate: smaller ones are rounded away, and only small weights learn.
//!
//! ## Example
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   data { context = 512tok }
//!   train { precision = bf16_pure; learning_rate = 5e-6 }
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
//!   train { precision = bf16; learning_rate = 5e-6 }
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: master weights in float32 take more memory.
//!
//! ## References
//! - <https://arxiv.org/abs/2010.06192> (Revisiting BFloat16 Training)

use memspec::plan::Precision;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// Below this most weights no longer change.
const SMALL: f64 = 1e-5;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.adapter.is_none()
                && setup.train.precision == Precision::Bf16Pure
                && setup.train.learning_rate > 0.0
                && setup.train.learning_rate < SMALL
        })?;
        let message = format!("updates of about {:e} are lost in most bfloat16 weights", setup.train.learning_rate);
        Some(
            Finding::new(rule, message)
                .at(plan.written, "train.learning_rate", "smaller than a weight's last bit")
                .at(plan.written, "train.precision", "no float32 master weights")
                .help("use `precision = bf16`, which keeps float32 master weights, where they fit")
                .fix(context.set(plan, "train.precision", "bf16", Applicability::Unsafe)),
        )
    })
}
