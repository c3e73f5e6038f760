//! # blockwise-setting-of-int8 (QNT012)
//!
//! ## What it does
//! Finds `double` or `block` in `quantize int8`.
//!
//! ## Why is this bad?
//! 8-bit weights have one scale a row and no blocks: the setting does nothing, and a reader believes that it does.
//!
//! ## Example
//! ```mem
//! quantize int8 { double = true }
//! ```
//!
//! ## Use instead
//! ```mem
//! quantize nf4 { double = true }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a setting without effect.
//!
//! ## References
//! - <https://arxiv.org/abs/2208.07339> (LLM.int8(): row-wise scales)

use memspec::plan::QuantizeKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let quantize = plan.written.plan.quantize.as_ref().filter(|quantize| quantize.kind == QuantizeKind::Int8)?;
        let setting = [("quantize.double", quantize.double.is_some()), ("quantize.block", quantize.block.is_some())]
            .into_iter()
            .filter(|_| context.document.foreign.is_none())
            .find_map(|(setting, written)| (written && plan.says(setting)).then_some(setting))?;
        Some(
            Finding::new(rule, format!("`{setting}` has no effect on int8"))
                .at(plan.written, setting, "int8 has one scale a row")
                .help("remove it, or use `quantize nf4`")
                .fix(context.remove(plan, setting, Applicability::Safe)),
        )
    })
}
