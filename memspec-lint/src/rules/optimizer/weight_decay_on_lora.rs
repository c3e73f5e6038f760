//! # weight-decay-on-lora (OPT005)
//!
//! ## What it does
//! Finds a `weight_decay` above 0.1 with an adapter.
//!
//! ## Why is this bad?
//! Decay pulls the adapter to 0, which is the base model, not a smaller version of it. A little of it is harmless; much of it unlearns.
//!
//! ## Example
//! ```mem
//! train { weight_decay = 0.3 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { weight_decay = 0.01 }
//! ```
//!
//! ## Fix safety
//! Unsafe: training takes another course.
//!
//! ## References
//! - <https://docs.unsloth.ai/get-started/fine-tuning-llms-guide/lora-hyperparameters-guide> (0.01 to 0.1)

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// More than this is much.
const MUCH: f64 = 0.1;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| setup.adapter.is_some() && setup.train.weight_decay > MUCH)?;
        Some(
            Finding::new(rule, format!("a weight decay of {} pulls the adapter to nothing", setup.train.weight_decay))
                .at(plan.written, "train.weight_decay", "")
                .help("use 0.01, or none")
                .fix(context.set(plan, "train.weight_decay", "0.01", Applicability::Unsafe)),
        )
    })
}
