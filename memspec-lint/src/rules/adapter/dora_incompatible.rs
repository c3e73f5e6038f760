//! # dora-incompatible (LOR013)
//!
//! ## What it does
//! Finds `dora`, or `dropout`, with adapters on the parameters of experts.
//!
//! ## Why is this bad?
//! PEFT adapts experts as parameters (`ParamWrapper`), and that layer has neither: it stops with "does not work with use_dora=True" or "does
//! not work with lora_dropout != 0" once the model is loaded.
//!
//! ## Example
//! ```mem
//! model  = "openai/gpt-oss-20b"
//! device = h200
//! engine = trl
//! adapter dora { targets = [q_proj, "experts.gate_up_proj", "experts.down_proj"] }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "openai/gpt-oss-20b"
//! device = h200
//! engine = trl
//! adapter lora { targets = [q_proj, "experts.gate_up_proj", "experts.down_proj"] }
//! ```
//!
//! ## Fix safety
//! Unsafe: the adapter is of another kind.
//!
//! ## References
//! - PEFT 0.21, `tuners/lora/layer.py`: `ParamWrapper.__init__`

use memspec::plan::{AdapterKind, EngineName};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.engine == EngineName::Trl
                && setup.adapter.as_ref().is_some_and(|adapter| {
                    let names = setup.model.expert_names().unwrap_or_default();
                    let of_expert = |name: &String| name.starts_with("experts.") || names.contains(&name.as_str());
                    let refused = adapter.kind == AdapterKind::Dora || adapter.dropout > 0.0;
                    refused && adapter.targets.iter().any(of_expert)
                })
        })?;
        let dora = setup.adapter.as_ref()?.kind == AdapterKind::Dora;
        let (setting, what, fix) = if dora {
            ("adapter.kind", "no magnitudes here", context.set(plan, "adapter", "lora", Applicability::Unsafe))
        } else {
            ("adapter.dropout", "no dropout here", context.set(plan, "adapter.dropout", "0%", Applicability::Unsafe))
        };
        let name = if dora { "DoRA" } else { "dropout" };
        Some(
            Finding::new(rule, format!("PEFT has no {name} on the parameters of experts"))
                .at(plan.written, if dora { "adapter" } else { setting }, what)
                .at(plan.written, "adapter.targets", "reaches experts")
                .help("use LoRA without dropout, or leave the experts out")
                .fix(fix),
        )
    })
}
