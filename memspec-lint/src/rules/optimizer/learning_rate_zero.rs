//! # learning-rate-zero (OPT009)
//!
//! ## What it does
//! Finds a learning rate of 0.
//!
//! ## Why is this bad?
//! Nothing is learnt: the run takes its time, and the model is what it was.
//!
//! ## Example
//! ```mem
//! train { learning_rate = 0 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { learning_rate = 2e-4 }
//! ```
//!
//! ## Fix safety
//! Unsafe: the model is trained then.

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| setup.train.learning_rate == 0.0)?;
        let usual = if setup.adapter.is_some() { "2e-4" } else { "2e-5" };
        Some(
            Finding::new(rule, "with a learning rate of 0 nothing is learnt")
                .at(plan.written, "train.learning_rate", "")
                .help(format!("{usual} is usual"))
                .fix(context.set(plan, "train.learning_rate", usual, Applicability::Unsafe)),
        )
    })
}
