//! # moe-experts-not-adapted (LOR004)
//!
//! ## What it does
//! Finds adapters on a model with experts that reach no expert, though the plan does not say `attention` or `query_value`, nor names the attention's
//! linears one by one.
//!
//! ## Why is this bad?
//! The experts are parameters, not linears: names copied from a dense model, and `all_linear`, go past them where PEFT knows no names for
//! them. Nearly all of the model stays as it was.
//!
//! ## Example
//! ```mem
//! model  = "openai/gpt-oss-20b"
//! device = h200
//! engine = trl
//! adapter lora { targets = all_linear }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "openai/gpt-oss-20b"
//! device = h200
//! engine = trl
//! adapter lora { targets = [q_proj, k_proj, v_proj, o_proj, "experts.gate_up_proj", "experts.down_proj"] }
//! ```
//!
//! ## References
//! - <https://github.com/axolotl-ai-cloud/axolotl/issues/3515>
//! - <https://github.com/ml-explore/mlx-lm/issues/571>

use memspec::plan::Targets;

use crate::context::{Context, Seen};
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    // KTransformers has experts of its own, with what adapts them.
    if context.document.foreign.as_ref().is_some_and(|foreign| foreign.differs_in("use_kt")) {
        return Vec::new();
    }
    context.each(|plan| {
        let written = plan.written.plan.adapter.as_ref()?.targets.as_ref();
        // Whoever writes these words means them.
        let meant = |targets: &Targets| matches!(targets, Targets::Attention | Targets::QueryValue);
        if written.is_some_and(|targets| targets.values().iter().any(meant)) {
            return None;
        }
        let named = written.is_some_and(|targets| targets.values().iter().all(|one| matches!(one, Targets::Modules(_))))
            && !is_all(context, plan);
        let setup = plan.find(|setup| {
            let adapter = setup.adapter.as_ref();
            setup.model.experts.is_some()
                && !(named && adapter.is_some_and(|adapter| is_attention(&setup.model, &adapter.targets)))
                && adapter.is_some_and(|adapter| !adapter.targets.iter().any(|name| is_expert(&setup.model, name)))
        })?;
        let share = share_of_experts(&setup.model);
        Some(
            Finding::new(rule, format!("no expert of `{}` gets an adapter, and they are {share:.0} % of its weights", setup.model_name))
                .at(plan.written, "adapter.targets", "goes past the experts")
                .help(
                    "name the experts' parameters (`experts.gate_up_proj`, `experts.down_proj`) or linears, or say that it is meant: \
                     `targets = attention`",
                ),
        )
    })
}

/// Another trainer's file asks for all linears, which are names in a plan where that trainer finds others than PEFT.
fn is_all(context: &Context<'_>, plan: &Seen<'_>) -> bool {
    plan.written.spans.get("adapter.targets").is_some_and(|place| {
        context.text(place.key.clone()) == "lora_target_linear" || context.text(place.value.clone()) == "all"
    })
}

/// Only the attention's linears are named.
fn is_attention(model: &memspec::model::Architecture, names: &[String]) -> bool {
    let linears = [model.attention_linears(), model.linear_attention_linears()].concat();
    names.iter().all(|name| linears.iter().any(|linear| linear.leaf() == name))
}

/// The name is that of an expert's matrix.
fn is_expert(model: &memspec::model::Architecture, name: &str) -> bool {
    let of_linears = model.expert_names().is_some_and(|[_, experts @ ..]| experts.contains(&name));
    name.starts_with("experts.") || of_linears
}

/// Percent of the model's weights that are experts'.
fn share_of_experts(model: &memspec::model::Architecture) -> f64 {
    let Some(experts) = &model.experts else { return 0.0 };
    let one: u64 = model.expert_linears().iter().map(memspec::model::Linear::weights).sum();
    let blocks = model.layers.saturating_sub(experts.first_dense);
    100.0 * one as f64 * experts.count as f64 * blocks as f64 / model.parameters().max(1) as f64
}
