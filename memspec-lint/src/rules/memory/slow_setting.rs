//! # slow-setting (MEM025)
//!
//! ## What it does
//! Finds settings that make a plan slower while a faster value fits as well, with 8 % of the card left free: scores of attention as a tensor, logits
//! all at once, more recomputed blocks than there is need for, a micro batch too small to keep the card busy.
//!
//! ## Why is this bad?
//! The training is the same, and takes longer. Each suggestion is the plan estimated anew with that one change; they come in order of the tokens a
//! second that they gain, with what they take or save. A plan that leaves half of its memory unused is `unused-memory`'s.
//!
//! ## Example
//! ```mem
//! device = l40s
//! engine = trl
//! model  = "meta-llama/Llama-3.2-3B"
//! adapter lora { rank = 16 }
//! data { context = 2048tok }
//! train { micro_batch = 2; checkpointing = none }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l40s
//! engine = trl
//! model  = "meta-llama/Llama-3.2-3B"
//! adapter lora { rank = 16 }
//! data { context = 2048tok }
//! train { micro_batch = 2; checkpointing = none; liger = true }
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;
use crate::rules::memory::faster;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let now = plan.estimates().find(|(resolved, estimate)| {
            estimate.fits && faster::is_timed(&resolved.setup) && !faster::leaves_much(&resolved.setup, estimate)
        })?;
        let fixes = faster::fixes(rule, context, plan, now);
        if fixes.is_empty() {
            return None;
        }
        let finding = Finding::new(rule, format!("plan `{}` could train faster within its memory", now.1.name));
        Some(Finding { fixes, ..finding.at(plan.written, "train", "something else fits, and is faster") })
    })
}
