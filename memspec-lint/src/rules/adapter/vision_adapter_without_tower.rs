//! # vision-adapter-without-tower (LOR017)
//!
//! ## What it does
//! Finds `vision = true` in an adapter of a model without a vision tower.
//!
//! ## Why is this bad?
//! There is nothing that it could adapt: the setting does nothing.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! adapter lora {
//!   rank   = 16
//!   vision = true
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! adapter lora {
//!   rank   = 16
//! }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a setting without effect.

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.model.vision.is_none() && setup.adapter.as_ref().is_some_and(|adapter| adapter.vision)
        })?;
        Some(
            Finding::new(rule, format!("`{}` has no vision tower to adapt", setup.model_name))
                .at(plan.written, "adapter.vision", "does nothing")
                .help("remove it, or name the model with the tower")
                .fix(context.remove(plan, "adapter.vision", Applicability::Safe)),
        )
    })
}
