//! # attention-only-lora (LOR009)
//!
//! ## What it does
//! Finds adapters on attention alone in a model without experts.
//!
//! ## Why is this bad?
//! Measured against adapters on all linears, and also against ones of the same size on the MLP, they learn less. PEFT's own defaults are
//! the query and value projections.
//!
//! ## Example
//! ```mem
//! adapter lora { targets = query_value }
//! ```
//!
//! ## Use instead
//! ```mem
//! adapter lora { targets = all_linear }
//! ```
//!
//! ## Fix safety
//! Unsafe: more is trained.
//!
//! ## References
//! - <https://huggingface.co/docs/trl/main/en/lora_without_regret>
//! - <https://arxiv.org/abs/2305.14314> (QLoRA, figure 2)

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| {
            let attention = setup.model.attention_linears();
            let of_attention = |name: &String| attention.iter().any(|linear| linear.leaf() == name);
            setup.model.experts.is_none()
                && setup.adapter.as_ref().is_some_and(|adapter| adapter.targets.iter().all(of_attention))
        })?;
        Some(
            Finding::new(rule, "only attention gets an adapter")
                .at(plan.written, "adapter.targets", "leaves the MLP as it is")
                .help("use `targets = all_linear`, with a lower rank where memory is short")
                .fix(context.set(plan, "adapter.targets", "all_linear", Applicability::Unsafe)),
        )
    })
}
