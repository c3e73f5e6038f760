//! # unused-memory (MEM017)
//!
//! ## What it does
//! Finds plans that take less than 55 % of the memory they may, and could train faster with more of it.
//!
//! ## Why is this bad?
//! A larger micro batch with less accumulation, or fewer recomputed blocks, trains the same in less time. Each suggestion is the plan estimated
//! anew with that one change; they come in order of the tokens a second that they gain, with what they take.
//!
//! ## Example
//! ```mem
//! device = "a100-80"
//! engine = trl
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! data { context = 2048tok }
//! train { micro_batch = 4; checkpointing = block }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = "a100-80"
//! engine = trl
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! data { context = 2048tok }
//! train { micro_batch = 8 }
//! ```

use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;
use crate::rules::memory::faster;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let now = plan.estimates().find(|(resolved, estimate)| faster::leaves_much(&resolved.setup, estimate))?;
        let fixes = faster::fixes(rule, context, plan, now);
        if fixes.is_empty() {
            return None;
        }
        let left = Bytes(now.1.limit_bytes.saturating_sub(now.1.needs().0));
        let finding = Finding::new(rule, format!("plan `{}` leaves {left} unused", now.1.name));
        Some(Finding {
            fixes,
            ..finding.at(plan.written, "device", format!("{} may be taken", Bytes(now.1.limit_bytes)))
        })
    })
}
