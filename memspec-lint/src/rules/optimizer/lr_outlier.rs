//! # lr-outlier (OPT001)
//!
//! ## What it does
//! Finds learning rates outside of what is usual for AdamW: 2e-5 to 1e-3 for adapters, 1e-6 to 1e-4 for all weights.
//!
//! ## Why is this bad?
//! Outside, runs mostly diverge or stand still. Tiny models and unusual batches are the exception.
//!
//! ## Example
//! ```mem
//! train { learning_rate = 3e-3 }
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
//! - <https://docs.unsloth.ai/get-started/fine-tuning-llms-guide/lora-hyperparameters-guide>
//! - TRL, `trainer/sft_config.py`: `learning_rate`

use memspec::plan::OptimizerKind;
use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    if context.document.foreign.as_ref().is_some_and(|foreign| !foreign.is_supervised()) {
        // Other ways to train have other rates.
        return Vec::new();
    }
    context.each(|plan| {
        let setup = plan.find(|setup| {
            let usual = usual(setup);
            !matches!(setup.train.optimizer, OptimizerKind::Sgd) && !usual.contains(&setup.train.learning_rate)
        })?;
        let (usual, rate) = (usual(setup), setup.train.learning_rate);
        let nearest = if rate < *usual.start() { usual.start() } else { usual.end() };
        let trained = if setup.adapter.is_some() { "adapters" } else { "all weights" };
        Some(
            Finding::new(rule, format!("{rate:e} is an unusual learning rate for {trained}"))
                .at(plan.written, "train.learning_rate", format!("usual are {:e} to {:e}", usual.start(), usual.end()))
                .fix(context.set(plan, "train.learning_rate", &format!("{nearest:e}"), Applicability::Unsafe)),
        )
    })
}

/// The usual rates for what is trained.
fn usual(setup: &Setup) -> std::ops::RangeInclusive<f64> {
    if setup.adapter.is_some() { 2e-5..=1e-3 } else { 1e-6..=1e-4 }
}
