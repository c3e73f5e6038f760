//! # assistant-loss-without-assistant (TOK009)
//!
//! ## What it does
//! Finds `loss_on = assistant` for records of `format = text`.
//!
//! ## Why is this bad?
//! A text has no turns, so no token is the assistant's. TRL stops ("the dataset is not conversational"); memspec-train learns all of it,
//! which is not what the plan says.
//!
//! ## Example
//! ```mem
//! data { context = 512tok; format = text; loss_on = assistant }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok; format = text; loss_on = all }
//! ```
//!
//! ## Fix safety
//! Unsafe: which of the two was meant is a guess.
//!
//! ## References
//! - TRL, `trainer/sft_trainer.py`: `assistant_only_loss`

use memspec::plan::{DataFormat, LossOn};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.data.format == DataFormat::Text && setup.data.loss_on == LossOn::Assistant)?;
        Some(
            Finding::new(rule, "a text has no assistant whose words could be learnt alone")
                .at(plan.written, "data.loss_on", "")
                .at(plan.written, "data.format", "has no turns")
                .help("use `loss_on = all`, or records with turns and `format = chat`")
                .fix(context.set(plan, "data.loss_on", "all", Applicability::Unsafe)),
        )
    })
}
