//! # full-finetune-lr-with-lora (LOR010)
//!
//! ## What it does
//! Finds adapters that learn with a rate below 5e-5, where the plan writes the rate and the adapter's scale is at most 4.
//!
//! ## Why is this bad?
//! Adapters want about ten times the learning rate of full fine-tuning. One that was kept from a full fine-tune learns next to nothing in
//! the same steps; the loss falls, only slower.
//!
//! ## Example
//! ```mem
//! train { learning_rate = 1e-5 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { learning_rate = 2e-4 }
//! ```
//!
//! ## Fix safety
//! Unsafe: training takes another course.
//!
//! ## References
//! - <https://huggingface.co/docs/trl/main/en/lora_without_regret>
//! - <https://thinkingmachines.ai/blog/lora/>

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// Below this it is a rate for all weights.
const LOW: f64 = 5e-5;
/// A larger scale makes up for a low rate.
const SCALE: f64 = 4.0;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    if context.document.foreign.as_ref().is_some_and(|foreign| !foreign.is_supervised()) {
        // Preferences and rewards are learnt with smaller ones, with adapters, too.
        return Vec::new();
    }
    context.each(|plan| {
        let setup = plan.find(|setup| {
            let rate = setup.train.learning_rate;
            rate > 0.0 && rate < LOW && setup.adapter.as_ref().is_some_and(|adapter| adapter.scale() <= SCALE)
        })?;
        let message = format!("{:e} is a learning rate for all weights, not for an adapter", setup.train.learning_rate);
        plan.says("train.learning_rate").then(|| {
            Finding::new(rule, message)
                .at(plan.written, "train.learning_rate", "about a tenth of what an adapter wants")
                .help("use 1e-4 to 5e-4 with AdamW")
                .fix(context.set(plan, "train.learning_rate", "2e-4", Applicability::Unsafe))
        })
    })
}
