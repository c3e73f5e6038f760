//! # serve-context-beyond-positions (ATT014)
//!
//! ## What it does
//! Finds conversations longer than the positions that the model was made for.
//!
//! ## Why is this bad?
//! Beyond them a model writes noise, and servers refuse to start ("max_model_len is greater than the derived max_model_len").
//!
//! ## Example
//! ```mem
//! serve { context = 16384tok }
//! ```
//!
//! ## Use instead
//! ```mem
//! serve { context = 8192tok }
//! ```
//!
//! ## Fix safety
//! Unsafe: conversations become shorter.
//!
//! ## References
//! - <https://docs.vllm.ai/en/stable/configuration/engine_args/> (`max_model_len`)

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (setup, context_tokens) = plan.setups().find_map(|setup| {
            let context = setup.serve.as_ref()?.context;
            let positions = setup.model.max_positions;
            // A context that is too long for training is another rule's.
            let is_written = plan.says("serve.context");
            (is_written && positions > 0 && context > positions).then_some((setup, context))
        })?;
        let positions = setup.model.max_positions;
        Some(
            Finding::new(
                rule,
                format!(
                    "conversations of {context_tokens} are beyond the {positions} positions of `{}`",
                    setup.model_name
                ),
            )
            .at(plan.written, "serve.context", format!("{} too many", context_tokens - positions))
            .help(format!("use at most `context = {positions}tok`"))
            .fix(context.set(plan, "serve.context", &format!("{positions}tok"), Applicability::Unsafe)),
        )
    })
}
