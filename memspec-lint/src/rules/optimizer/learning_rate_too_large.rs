//! # learning-rate-too-large (OPT008)
//!
//! ## What it does
//! Finds learning rates of 0.05 and more with any optimizer but `sgd`.
//!
//! ## Why is this bad?
//! AdamW and its kin move every weight by about the rate in each step, and weights are about 0.02: the model is destroyed in one. It is a
//! slip of the exponent: `2e4`, `2e-1`.
//!
//! ## Example
//! ```mem
//! train { learning_rate = 2e4 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { learning_rate = 2e-4 }
//! ```
//!
//! ## Fix safety
//! Unsafe: which rate was meant is a guess.
//!
//! ## References
//! - <https://arxiv.org/abs/1412.6980> (Adam, section 2.1: a step is bounded by the rate)

use memspec::plan::OptimizerKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// More than weights are large.
const TOO_LARGE: f64 = 0.05;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup =
            plan.find(|setup| setup.train.optimizer != OptimizerKind::Sgd && setup.train.learning_rate >= TOO_LARGE)?;
        let usual = if setup.adapter.is_some() { "2e-4" } else { "2e-5" };
        Some(
            Finding::new(rule, format!("each step moves every weight by about {}", setup.train.learning_rate))
                .at(plan.written, "train.learning_rate", "more than most weights are")
                .help(format!("{usual} is usual"))
                .fix(context.set(plan, "train.learning_rate", usual, Applicability::Unsafe)),
        )
    })
}
