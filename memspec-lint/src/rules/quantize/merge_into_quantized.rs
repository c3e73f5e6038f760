//! # merge-into-quantized (QNT010)
//!
//! ## What it does
//! Finds adapters that are merged into a packed base after training (`save { merge = true }`), with the engine trl.
//!
//! ## Why is this bad?
//! PEFT unpacks each weight, adds the adapter and packs the sum again: what was learnt is rounded to 4 or 8 bits. PEFT warns that the
//! merged model "may get different generations due to rounding errors".
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! quantize nf4 { }
//! save { merge = true }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! quantize nf4 { }
//! save { merge = false }
//! ```
//!
//! ## Fix safety
//! Unsafe: nothing is merged then.
//!
//! ## References
//! - PEFT 0.21, `tuners/lora/bnb.py`: `merge`

use memspec::plan::EngineName;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        // Unsloth merges into weights that it unpacks to 16 bits (`save_pretrained_merged`).
        let setup = plan.find(|setup| {
            setup.engine == EngineName::Trl && setup.save.merge && setup.adapter.is_some() && setup.quantize.is_some()
        })?;
        let kind = setup.quantize.as_ref()?.kind;
        Some(
            Finding::new(rule, format!("the merged weights are rounded to {kind} again"))
                .at(plan.written, "save.merge", "loses part of what was learnt")
                .at(plan.written, "quantize", "")
                .help("keep the adapter, and merge it into the model in 16 bits in a process of its own")
                .fix(context.set(plan, "save.merge", "false", Applicability::Unsafe)),
        )
    })
}
