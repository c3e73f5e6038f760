//! # train-on-prompt-chat (TOK005)
//!
//! ## What it does
//! Finds chats whose every token is learnt (`loss_on = all`, the default).
//!
//! ## Why is this bad?
//! The model learns to write the user's turns and the system prompt too, which is seldom what is wanted; with few long answers most of the
//! loss is theirs.
//!
//! ## Example
//! ```mem
//! data { context = 512tok; format = chat }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok; format = chat; loss_on = assistant }
//! ```
//!
//! ## Fix safety
//! Unsafe: something else is learnt.
//!
//! ## References
//! - TRL, `trainer/sft_config.py`: `assistant_only_loss`

use memspec::plan::{DataFormat, LossOn};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.data.format == DataFormat::Chat && setup.data.loss_on == LossOn::All)?;
        Some(
            Finding::new(rule, "the user's turns are learnt, too")
                .at(plan.written, "data.loss_on", "counts every token")
                .help("use `loss_on = assistant`")
                .fix(context.set(plan, "data.loss_on", "assistant", Applicability::Unsafe)),
        )
    })
}
