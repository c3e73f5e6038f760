//! # context-beyond-positions (ATT003)
//!
//! ## What it does
//! Finds a `context` longer than the positions that the model was made for (`max_position_embeddings`). Not where samples are packed: there it is the
//! length of a row, and positions begin anew with each sample.
//!
//! ## Why is this bad?
//! Beyond its positions a model reads noise, or the position table ends in an index error. The loss of such samples teaches
//! nothing, and they cost the most memory.
//!
//! ## Example
//! ```mem
//! data { context = 16384tok }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 8192tok }
//! ```
//!
//! ## Fix safety
//! Unsafe: a shorter context cuts or drops long samples.
//!
//! ## References
//! - <https://github.com/unslothai/unsloth/issues/1236>

use memspec::model::Family;

use crate::context::Context;
use crate::diagnostic::{Finding, Severity};
use crate::fix::{Applicability, Fix};
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let found = context.plans.iter().filter_map(|plan| {
        let setup = plan.setups().filter(|setup| !setup.data.packing).max_by_key(|setup| setup.data.context)?;
        let positions = setup.model.max_positions;
        if positions == 0 || setup.data.context <= positions {
            return None;
        }
        let fix =
            Fix::set(context.document, plan.index, "data.context", &format!("{positions}tok"), Applicability::Unsafe);
        Some(
            Finding::new(
                rule,
                format!(
                    "a context of {} is beyond the {positions} positions of `{}`",
                    setup.data.context, setup.model_name
                ),
            )
            .at(plan.written, "data.context", format!("{} too many", setup.data.context - positions))
            .help(format!("use at most `context = {positions}tok`"))
            .fix(fix),
        )
        .map(|finding| Finding {
            severity: if has_table(setup.model.family) { Severity::Error } else { rule.severity },
            ..finding
        })
    });
    found.collect()
}

/// Positions are rows of a table, so that the run ends at the first that it lacks; elsewhere angles go on, untrained.
fn has_table(family: Family) -> bool {
    matches!(family, Family::Gpt2)
}
