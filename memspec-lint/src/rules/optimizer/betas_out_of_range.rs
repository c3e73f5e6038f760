//! # betas-out-of-range (OPT010)
//!
//! ## What it does
//! Finds decays of the optimizer's moments (`betas`) that are 1 or more.
//!
//! ## Why is this bad?
//! A moment with a decay of 1 never takes up a gradient. PyTorch refuses such values when it makes the optimizer ("Invalid beta parameter"),
//! with the model loaded.
//!
//! ## Example
//! ```mem
//! train { betas = [0.9, 1.0] }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { betas = [0.9, 0.999] }
//! ```
//!
//! ## Fix safety
//! Unsafe: which values were meant is a guess.
//!
//! ## References
//! - PyTorch 2.11, `torch/optim/adam.py`: "Invalid beta parameter"

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.train.betas.0 >= 1.0 || setup.train.betas.1 >= 1.0)?;
        Some(
            Finding::new(rule, "the decay of a moment has to be below 1")
                .at(plan.written, "train.betas", "")
                .help("`[0.9, 0.999]` is the default; `[0.9, 0.95]` is usual for large models")
                .fix(context.set(plan, "train.betas", "[0.9, 0.999]", Applicability::Unsafe)),
        )
    })
}
