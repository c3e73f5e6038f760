//! # zero-epochs (BAT012)
//!
//! ## What it does
//! Finds `epochs = 0`.
//!
//! ## Why is this bad?
//! Nothing is trained: the run loads the model and writes it.
//!
//! ## Example
//! ```mem
//! train { epochs = 0 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { epochs = 1 }
//! ```
//!
//! ## Fix safety
//! Unsafe: the model is trained then.

use memspec::setup::Length;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.train.length == Length::Epochs(0.0))?;
        Some(
            Finding::new(rule, "with 0 epochs nothing is trained")
                .at(plan.written, "train.epochs", "")
                .help("use `epochs = 1`, or count `steps`")
                .fix(context.set(plan, "train.epochs", "1", Applicability::Unsafe)),
        )
    })
}
