//! # adapter-without-effect (LOR018)
//!
//! ## What it does
//! Finds adapters that cannot learn: `alpha = 0`, which multiplies them by 0, or a `dropout` of 100 % and more.
//!
//! ## Why is this bad?
//! The run takes its time and its memory, and the model is what it was.
//!
//! ## Example
//! ```mem
//! adapter lora { rank = 16; alpha = 0 }
//! ```
//!
//! ## Use instead
//! ```mem
//! adapter lora { rank = 16; alpha = 32 }
//! ```
//!
//! ## Fix safety
//! Unsafe: the adapter learns then.
//!
//! ## References
//! - PEFT 0.21, `tuners/lora/layer.py`: `scaling = lora_alpha / r`

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.adapter.as_ref().is_some_and(|adapter| adapter.alpha == 0.0 || adapter.dropout >= 1.0)
        })?;
        let adapter = setup.adapter.as_ref()?;
        let alpha = (2 * u64::from(adapter.rank)).to_string();
        let (setting, words, better) = if adapter.alpha == 0.0 {
            ("adapter.alpha", "what it adds is multiplied by 0", alpha.as_str())
        } else {
            ("adapter.dropout", "all of its input is dropped", "5%")
        };
        Some(
            Finding::new(rule, "the adapter adds nothing, whatever it learns")
                .at(plan.written, setting, words)
                .help(format!("use `{} = {better}`", setting.trim_start_matches("adapter.")))
                .fix(context.set(plan, setting, better, Applicability::Unsafe)),
        )
    })
}
